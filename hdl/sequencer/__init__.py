"""The sequencer: program memory, fetch, decode, and the start of every slice."""

from .sequencer import Sequencer

__all__ = ["Sequencer"]
