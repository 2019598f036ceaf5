"""Windows: the part of a memory that a copy of it contains."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Window:
    """A range of `depth` entries of a memory of `size` entries: from `first` on, around the end.

    A copy that contains just the window stores entry e at address e % depth, which costs no logic
    where `depth` is a power of two. If the window begins at 0, entry e is at address e.
    """

    first: int
    depth: int
    size: int

    @property
    def whole(self) -> bool:
        """Whether it contains every entry of the memory."""
        return self.depth == self.size

    @property
    def legal(self) -> bool:
        """Whether it lies in the memory and its copy can be addressed without an adder."""
        if not (self.first < self.size and self.depth <= self.size):
            return False
        ends_inside = self.first + self.depth <= self.size
        return self.first == 0 or (self.depth & self.depth - 1 == 0 and (ends_inside or self.size % self.depth == 0))

    @property
    def entries(self) -> np.ndarray:
        """The entry at each address of the copy: int64 [depth]."""
        return (self.first + (np.arange(self.depth) - self.first) % self.depth) % self.size

    def holds(self, entries: np.ndarray) -> np.ndarray:
        """Whether it contains each of these entries: bool, shape of `entries`."""
        return (entries - self.first) % self.size < self.depth

    def covers(self, first: int, end: int) -> bool:
        """Whether it contains all entries of the range from `first` to `end`, exclusive."""
        if self.whole or first == end:
            return end <= self.size
        return end <= self.size and (first - self.first) % self.size + end - first <= self.depth

    def has(self, entry):
        """Whether it contains `entry`, an Amaranth value: an expression on the highest bits, or 1.
        """
        if self.whole:
            return 1
        bits = self.first | self.depth | self.size
        unit = bits & -bits
        return entry[unit.bit_length() - 1:].matches(
            *((self.first + offset) % self.size // unit for offset in range(0, self.depth, unit)))

    def index(self, entry):
        """The address of `entry` in the copy; both are Amaranth values."""
        return entry if self.first == 0 else entry[:self.depth.bit_length() - 1]
