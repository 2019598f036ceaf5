"""Windows: the part of a memory that one of its copies keeps."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Window:
    """`depth` entries of a memory of `size`, from `first` on and around its end.

    A copy that keeps no more has entry e at e % `depth`, which costs nothing where `depth` is a power of two, or at e, if the
    window begins at 0.
    """

    first: int
    depth: int
    size: int

    @property
    def whole(self) -> bool:
        """It has every entry."""
        return self.depth == self.size

    @property
    def legal(self) -> bool:
        """A copy can be addressed without an adder."""
        return self.first < self.size and self.depth <= self.size and (
            self.first == 0 or (self.size % self.depth == 0 and self.depth & self.depth - 1 == 0))

    @property
    def entries(self) -> np.ndarray:
        """The entry in each place of a copy."""
        return (self.first + (np.arange(self.depth) - self.first) % self.depth) % self.size

    def holds(self, entries: np.ndarray) -> np.ndarray:
        """Which of these entries it has: bool."""
        return (entries - self.first) % self.size < self.depth

    def covers(self, first: int, end: int) -> bool:
        """It has all entries from `first` to before `end`."""
        if self.whole or first == end:
            return end <= self.size
        return end <= self.size and (first - self.first) % self.size + end - first <= self.depth

    def has(self, entry):
        """Whether it has an entry, a value in hardware: by the highest bits that tell."""
        if self.whole:
            return 1
        bits = self.first | self.depth | self.size
        unit = bits & -bits
        return entry[unit.bit_length() - 1:].matches(
            *((self.first + offset) % self.size // unit for offset in range(0, self.depth, unit)))

    def index(self, entry):
        """Where a copy has an entry, both values in hardware."""
        return entry if self.first == 0 else entry[:self.depth.bit_length() - 1]
