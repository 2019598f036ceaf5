"""What carries link words between the driver and a tile, whatever that tile is."""

from typing import Protocol

import numpy as np


class Transport(Protocol):
    """Words to a tile and back. Simulations, the emulator, a serial port."""

    @property
    def cycles(self) -> int | None:
        """Clock cycles simulated so far; None where there is no such count."""

    @property
    def simulated_hz(self) -> float | None:
        """Clock cycles a second, over the time spent simulating; None where there is no such figure."""

    def send(self, words: np.ndarray) -> None:
        """Sends uint32 words, shape [n]."""

    def receive(self, count: int) -> np.ndarray:
        """The next `count` words, uint32; fewer if the time limit for an answer passed."""

    def drain(self) -> None:
        """Waits until the line is silent, and throws away what came until then."""

    def close(self) -> None:
        """Lets go of the tile."""
