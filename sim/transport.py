"""The interface between the driver and a tile of any kind: link words go to it and come back."""

from typing import Protocol, runtime_checkable

import numpy as np


class Transport(Protocol):
    """A line to a tile. Simulations, the emulator and a serial port are of this type."""

    @property
    def cycles(self) -> int | None:
        """Clock cycles simulated so far; None if they are not counted."""

    @property
    def simulated_hz(self) -> float | None:
        """Simulated clock cycles a second; None if there is no such figure."""

    def send(self, words: np.ndarray) -> None:
        """Sends uint32 words, shape [n]."""

    def receive(self, count: int) -> np.ndarray:
        """The next `count` words, uint32; fewer if the time limit for an answer passed."""

    def drain(self) -> None:
        """Waits until the line is silent, and drops the words that come until then."""

    def close(self) -> None:
        """Ends the use of the tile."""


@runtime_checkable
class Placing(Protocol):
    """A `Transport` to a simulated tile whose W-RAM can also be written directly, in no clock cycles.

    A large model would take tens of millions of words over the link. The contents of W-RAM, and all that runs do then, are
    the same as if the weights had come over it.
    """

    def place_weights(self, word: int, weights: np.ndarray) -> bool:
        """Writes weights, int8 [words, cols, rows], to W-RAM from a word on, while no program runs.

        False, and nothing is written, if this tile's W-RAM cannot be written so, or is too small.
        """
