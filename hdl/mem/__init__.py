"""MEM: the memory of activations and constants."""

from .mem import Mem

__all__ = ["Mem"]
