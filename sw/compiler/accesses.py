"""The accesses of instructions to memories, as the scheduler keeps them."""

from dataclasses import dataclass, field

import numpy as np

from ...hdl.spec.config import Config
from ...hdl.timing import Memory, Use

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
    """The accesses of an instruction that issues in cycle `issued` to a memory.

    `entries`: each entry once, int64 [n], or the slice of them if they lie side by side. `first`, `last`: the cycles of the
    first and of the last access to each, int64 [n]. `end`: one more than the last entry.
    """

    memory: Memory
    write: bool
    issued: int
    entries: np.ndarray | slice
    first: np.ndarray
    last: np.ndarray
    end: int

    @classmethod
    def of(cls, config: Config, use: Use, issued: int) -> "Access":
        """The accesses of a use of a unit that has a memory."""
        touched, cycles = use.entries(config), np.repeat(use.cycles, use.entries_per_cycle(config))
        order = np.lexsort((cycles, touched))
        touched, cycles = touched[order], cycles[order]
        starts = np.flatnonzero(np.diff(touched, prepend=-1))
        entries, first, last = touched[starts], cycles[starts], cycles[np.append(starts[1:], len(cycles)) - 1]
        low, end = int(entries[0]), int(entries[-1]) + 1
        return cls(use.unit.access.memory, use.unit.access.writes, issued,
                   slice(low, end) if end - low == len(entries) else entries, first, last, end)
