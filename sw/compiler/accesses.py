"""The accesses of instructions to memories, as the scheduler keeps them."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ...hdl.timing import Memory

LONG_AGO = -4096
"""The cycle of anything that is too long ago to matter."""


@dataclass
class Entries:
    """The last accesses to each entry of a memory, int64 [entries] each.

    `written`, `accessed`: the last cycle in which the entry was written, or read or written.
    `writer`, `user`: the last issue of an instruction that writes the entry, or reads or writes it.

    The arrays end behind the last entry that was used: a section uses a small part of a large W-RAM.
    """

    written: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    accessed: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    writer: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    user: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def copy(self) -> "Entries":
        """A copy with arrays of its own."""
        return Entries(self.written.copy(), self.accessed.copy(), self.writer.copy(), self.user.copy())

    def moved(self, cycles: int) -> "Entries":
        """A copy in which all accesses are so many cycles later."""
        return Entries(self.written + cycles, self.accessed + cycles, self.writer + cycles, self.user + cycles)

    def reach(self, end: int) -> None:
        """Extends the arrays to the entries before `end`, by ones that nothing has used."""
        if end > len(self.written):
            more = np.full(end + end // 2 - len(self.written), LONG_AGO, np.int64)
            for name in ("written", "accessed", "writer", "user"):
                setattr(self, name, np.concatenate([getattr(self, name), more]))


@dataclass(frozen=True)
class Access:
    """The accesses of an instruction, issued in cycle 0, to a memory: `entries[n]` is accessed in
    `cycles[n]`."""

    memory: Memory
    entries: np.ndarray
    cycles: np.ndarray
    write: bool

    @cached_property
    def end(self) -> int:
        """One more than the last entry."""
        return int(self.entries.max()) + 1
