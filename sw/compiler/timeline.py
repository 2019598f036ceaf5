"""The timeline: gives each instruction of a section the earliest cycle that the rules of the tile allow.

Instructions come in the order of the data. For each the rules say which cycles are too early, by what it reads and
writes and by the units that it needs, from the same `marey.hdl.timing.uses` that the verifier reads. What fits into a
gap goes there: the next product starts under the tail of the last, and a pass over a vector chases the one that writes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...hdl.spec.config import Config
from ...hdl.spec.isa import Address, Instruction, Op
from ...hdl.timing import Issue, Memory, Unit, Use, entries_of, issue_cycles, uses

BEFORE = 4096
"""Cycles before a section's origin that the timeline keeps account of."""
LONG_AGO = -BEFORE


@dataclass
class Entries:
    """By entry of a memory: the last cycle in which it was written, and accessed, and by what was last issued."""

    written: np.ndarray
    accessed: np.ndarray
    writer: np.ndarray
    user: np.ndarray

    @classmethod
    def of(cls, count: int) -> "Entries":
        return cls(*(np.full(count, LONG_AGO, np.int64) for _ in range(4)))


@dataclass(frozen=True)
class Access:
    """What an instruction that is issued in cycle 0 does to a memory: entries, cycles, and whether it writes."""

    memory: str
    entries: np.ndarray
    cycles: np.ndarray
    write: bool


@dataclass
class Timeline:
    """A section of a program: instructions with the cycles that they issue in, from the section's origin on.

    `registers`: what address registers hold, for one turn of the loop around the section; other turns are alike.
    """

    config: Config
    registers: dict[int, int]
    period: int = 1
    placed: list[tuple[int, Instruction]] = field(default_factory=list)

    def __post_init__(self):
        config = self.config
        self._memories = {Memory.MEM: Entries.of(config.granules), Memory.WRAM: Entries.of(config.wram_depth),
                          Memory.SCALARS: Entries.of(config.scalars), Memory.CHOICE: Entries.of(1)}
        self._busy = {unit: np.zeros(BEFORE, bool) for unit in Unit if unit.rival or unit is Unit.ISSUE}

    def written(self, memory: str, which: np.ndarray | int, cycles: np.ndarray | int) -> None:
        """Entries of a memory that something before the origin writes, in these cycles."""
        entries = self._memories[memory]
        entries.written[which] = entries.accessed[which] = cycles

    def busy(self, unit: str, until: int) -> None:
        """A unit that something before the origin keeps in use up to and including this cycle."""
        self._grow(unit, until + 1)
        self._busy[unit][:BEFORE + until + 1] = True

    def place(self, *instructions: Instruction, after: int = LONG_AGO, offsets: Sequence[int] = (0,)) -> int:
        """Issues instructions (one, or an MXM and its VXMs), each so many cycles after the first; returns the first's cycle,
        `after` or later."""
        parts = [(offset, self._uses(instruction)) for offset, instruction in zip(offsets, instructions, strict=True)]
        accesses = [(shift, access) for shift, (_, found) in parts for access in found]
        issuable = int(self._busy[Unit.ISSUE].argmin()) - BEFORE
        cycle = max([after, issuable, *(self._earliest(access, shift) for shift, access in accesses)])
        units = [(unit, cycles + shift) for shift, (found, _) in parts for unit, cycles in found.items()]
        while not all(self._free(unit.rival or unit, cycles + cycle) for unit, cycles in units):
            cycle += 1
        for unit, cycles in units:
            self._grow(unit, int(cycles[-1]) + cycle + 1)
            self._busy[unit][cycles + cycle + BEFORE] = True
        for shift, access in accesses:
            self._record(access, cycle, shift)
        self.placed += [(cycle + offset, instruction) for offset, instruction in zip(offsets, instructions, strict=True)]
        return cycle

    def best(self, candidates: list[Instruction], after: int = LONG_AGO) -> int:
        """Issues the one of several instructions for the same that ends first; returns its cycle."""
        ends = []
        for candidate in candidates:
            trial = self._copy()
            cycle = trial.place(candidate, after=after)
            ends.append(cycle + max(int(cycles[-1]) for cycles in trial._uses(candidate)[0].values()))
        return self.place(candidates[int(np.argmin(ends))], after=after)

    def beats(self, unit: str = Unit.VXM_BEAT) -> int:
        """The last cycle in which a unit is in use."""
        found = np.flatnonzero(self._busy[unit])
        return int(found[-1]) - BEFORE if len(found) else LONG_AGO

    def last(self, unit: str) -> int:
        """The last cycle in which what was placed uses a unit that is not among those that serve one use a cycle."""
        return max(int(use.cycles.max()) for cycle, instruction in self.placed for use in self.uses(instruction, cycle)
                   if use.unit == unit)

    def uses(self, instruction: Instruction, cycle: int = 0) -> list[Use]:
        """What an instruction that is issued in a cycle uses, with what the registers and the period hold here."""
        operands = {
            name: value.offset + self.registers.get(value.base, 0) if isinstance(value, Address) else value
            for name, value in instruction.operands.items()}
        return uses(self.config, Issue(cycle, 0, instruction, operands, self.period))

    def _copy(self):
        twin = Timeline(self.config, self.registers, self.period)
        twin._memories = self._memories
        twin._busy = {unit: busy.copy() for unit, busy in self._busy.items()}
        twin._record = lambda *_: None
        return twin

    def _uses(self, instruction):
        """Cycles by unit, and accesses to memories, of an instruction issued in cycle 0."""
        units = {Unit.ISSUE: np.arange(issue_cycles(self.config, instruction))}
        accesses = []
        found = self.uses(instruction)
        for use in found:
            if use.unit.rival:
                units[use.unit] = np.union1d(units.get(use.unit, np.zeros(0, np.int64)), use.cycles)
            if access := use.unit.access:
                cycles = np.repeat(use.cycles, access.entries(self.config))
                accesses.append(Access(access.memory, entries_of(self.config, use), cycles, access.writes))
        if instruction.op is Op.MXM:
            # The cache's words are written and read in different sections.
            accesses = [access for access in accesses if access.memory is not Memory.WRAM]
        return units, accesses

    def _earliest(self, access, shift):
        entries = self._memories[access.memory]
        last, issued = (entries.accessed, entries.user) if access.write else (entries.written, entries.writer)
        return int(max((last[access.entries] - access.cycles).max(), issued[access.entries].max())) + 1 - shift

    def _record(self, access, cycle, shift):
        entries = self._memories[access.memory]
        at = access.cycles + cycle + shift
        for last, issued in [(entries.accessed, entries.user)] + [(entries.written, entries.writer)] * access.write:
            np.maximum.at(last, access.entries, at)
            np.maximum.at(issued, access.entries, cycle + shift)

    def _free(self, unit, cycles):
        busy = self._busy[unit]
        at = cycles + BEFORE
        at = at[at < len(busy)]
        return (len(at) == 0 or at[0] >= 0) and not busy[at].any()

    def _grow(self, unit, cycles):
        busy = self._busy[unit]
        if cycles + BEFORE > len(busy):
            self._busy[unit] = np.concatenate([busy, np.zeros(cycles + BEFORE - len(busy) + 1024, bool)])
