"""The scheduler: gives each step of a section the earliest cycle that the rules of the tile allow.

Steps are placed one after another, each after those whose results it reads. `marey.hdl.timing.uses`,
from which the verifier works, too, tells what an instruction reads and writes and which units it
needs; from that follows the earliest cycle. A later step can fill a gap before an earlier one: the
next product starts before the results of the last are all taken, and a pass over a vector starts
before the pass that writes the vector has ended.
"""

from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, field

import numpy as np

from ...hdl.spec.config import Config
from ...hdl.spec.isa import Address, Instruction, Op
from ...hdl.timing import VXM_ENGINES, Issue, Memory, Unit, Use, entries_of, issue_cycles, uses
from ...hdl.vxm.vxm import Vxm
from .steps import ORIGIN, REGISTERS, After, Step

BEFORE = 4096
"""Cycles before a section's origin in which a timeline can place an instruction."""
LONG_AGO = -BEFORE
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

    def reach(self, entries: np.ndarray) -> None:
        """Extends the arrays to these entries, by ones that nothing has used."""
        end = int(np.max(entries)) + 1
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


@dataclass(frozen=True)
class Boundary:
    """The state at the origin, cycle 0, of a section: a VXM pass of the section before it has its
    last beat there.

    The pass writes `count` granules from MEM granule `granule` on; its last `last` beats are in the
    last `last` cycles, one a granule. It may leave a reduction in scalar register `scalar`.
    """

    granule: int
    count: int
    last: int
    scalar: int


@dataclass
class Timeline:
    """The schedule of a section: instructions with the cycles, counted from the section's origin,
    in which they issue.

    The origin is the first issue, or, with a `boundary`, the last beat of the pass before the
    section. `registers`: {number of an address register: value} (see `Registers`). `period`: the
    value of the last PERIOD. `placed`: (cycle, instruction), in the order of placing.
    `registers_ready`: the cycle from which all address registers can be read. `barrier`: no step may
    issue before this cycle.
    """

    config: Config
    registers: dict[int, int]
    boundary: Boundary | None = None
    period: int = 1
    placed: list[tuple[int, Instruction]] = field(default_factory=list)
    registers_ready: int = LONG_AGO
    barrier: int = LONG_AGO

    def __post_init__(self):
        self.registers = dict(self.registers)
        self._ready: dict[int, int] = {}
        self._memories = {memory: Entries() for memory in Memory}
        self._busy = {unit: np.zeros(BEFORE, bool) for unit in Unit if unit.rival or unit is Unit.ISSUE}
        self._keep_busy(Unit.ISSUE, -1)
        if self.boundary:
            self._begin_at(self.boundary)

    def _begin_at(self, boundary):
        """Enters what the section finds at its origin."""
        config = self.config
        for unit in (Unit.VXM_BEAT, Unit.MXM_BEAT):
            self._keep_busy(unit, 0)
        for engine in VXM_ENGINES[:config.engines]:
            self._keep_busy(engine, Vxm.leaving_cycles(config))
        cycles = np.full(boundary.count, Vxm.latency(config))
        cycles[-boundary.last:] -= np.arange(boundary.last)[::-1]
        self._wrote(Memory.MEM, boundary.granule + np.arange(boundary.count), cycles)
        self._wrote(Memory.SCALARS, boundary.scalar, Vxm.reduce_latency(config))

    def _wrote(self, memory, which, cycles):
        """Enters writes that were begun before the origin: entries `which` of a memory are written
        in these cycles."""
        entries = self._memories[memory]
        entries.reach(which)
        entries.written[which] = entries.accessed[which] = cycles

    def _keep_busy(self, unit, until):
        """Marks a unit as in use in all cycles up to and including `until`."""
        self._grow(unit, until + 1)
        self._busy[unit][:BEFORE + until + 1] = True

    def schedule(self, steps: Iterable[Step]) -> "Timeline":
        """Places steps, one after another, each as early as possible; returns the timeline."""
        for step in steps:
            self.place(step)
        return self

    def place(self, step: Step) -> int:
        """Places a step as early as possible; returns the cycle of its first instruction."""
        after = max([self.barrier, *(self._bound(bound) for bound in step.after)])
        instructions = step.choices[0] if len(step.choices) == 1 else self._first_to_end(step, after)
        cycle, accesses = self._take(step.planned or instructions, step.offsets, after)
        for shift, access in accesses:
            self._record(access, cycle, shift)
        self.placed += [(cycle + offset, instruction)
                        for offset, instruction in zip(step.offsets, instructions, strict=True)]
        for offset, instruction in zip(step.offsets, instructions, strict=True):
            self._update(instruction, cycle + offset)
        if step.barrier:
            self.barrier = cycle + issue_cycles(self.config, instructions[0])
        return cycle

    def _bound(self, after: After):
        """The first cycle that a bound allows."""
        if after.unit in (REGISTERS, ORIGIN):
            return (self.registers_ready if after.unit == REGISTERS else 0) + after.distance
        last = self.beats if after.unit in self._busy else self.last
        return last(after.unit) + after.distance

    def _take(self, instructions, offsets, after):
        """Finds the first cycle, no earlier than `after`, for instructions at these offsets, and
        marks their units as in use.

        Returns the cycle, and [(offset, Access)] of their accesses to memories.
        """
        after = max([after] + [self._ready[value.base] - offset
                               for offset, instruction in zip(offsets, instructions, strict=True)
                               for value in instruction.operands.values()
                               if isinstance(value, Address) and value.base in self._ready])
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
        return cycle, accesses

    def _update(self, instruction, cycle):
        """Notes what an instruction that issues in `cycle` changes in the sequencer: address
        registers and the period."""
        match instruction.op:
            case Op.SET | Op.INDEX:
                register = instruction["register"]
                self.registers[register] = instruction["value"]
                self._ready[register] = cycle + issue_cycles(self.config, instruction)
                self.registers_ready = max(self.registers_ready, self._ready[register])
            case Op.PERIOD:
                # No later step may issue before the PERIOD: it would have the period that was set before.
                self.period = instruction["value"]
                self._keep_busy(Unit.ISSUE, self.beats(Unit.ISSUE))

    def _first_to_end(self, step, after):
        """The choice that ends first; each choice has one instruction."""
        ends = []
        for (choice,) in step.choices:
            trial = self._copy()
            cycle, _ = trial._take((choice,), (0,), after)
            ends.append(cycle + max(int(cycles[-1]) for cycles in trial._uses(choice)[0].values()))
        return step.choices[int(np.argmin(ends))]

    def beats(self, unit: Unit = Unit.VXM_BEAT) -> int:
        """The last cycle in which a unit is in use; for units that take one use a cycle (those with
        a rival, and ISSUE)."""
        found = np.flatnonzero(self._busy[unit])
        return int(found[-1]) - BEFORE if len(found) else LONG_AGO

    def last(self, unit: Unit) -> int:
        """The last cycle in which a placed instruction uses a unit; for the units that `beats` does
        not know.

        ValueError if none uses it.
        """
        return max(int(use.cycles.max()) for cycle, instruction in self.placed for use in self.uses(instruction, cycle)
                   if use.unit == unit)

    @property
    def first_issue(self) -> int:
        """The cycle of the section's first issue."""
        return min(cycle for cycle, _ in self.placed)

    def moved(self, origin: int = 0) -> list[tuple[int, Instruction]]:
        """[(cycle + `origin`, instruction)] in the order of the cycles: as on a timeline where this
        section's origin is in cycle `origin`."""
        return sorted(((cycle + origin, instruction) for cycle, instruction in self.placed), key=lambda placed: placed[0])

    def uses(self, instruction: Instruction, cycle: int = 0) -> list[Use]:
        """The units that an instruction, issued in `cycle`, uses; addresses are resolved with
        `registers` and `period`."""
        operands = {
            name: value.offset + self.registers.get(value.base, 0) if isinstance(value, Address) else value
            for name, value in instruction.operands.items()}
        return uses(self.config, Issue(cycle, 0, instruction, operands, self.period))

    def _copy(self):
        """A copy for a trial; it shares all that `_take` does not change with this timeline."""
        twin = copy(self)
        twin._busy = {unit: busy.copy() for unit, busy in self._busy.items()}
        return twin

    def _uses(self, instruction):
        """({unit: cycles}, [Access]) of an instruction that issues in cycle 0; only units that take
        one use a cycle."""
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
            # Of W-RAM words that a section writes, only the scores read some; bounds keep both apart (see
            # `heads.scores`).
            accesses = [access for access in accesses if access.memory is not Memory.WRAM]
        return units, accesses

    def _earliest(self, access, shift):
        """The first cycle for a step whose instruction with this access issues `shift` cycles after
        the first.

        A write must come after all accesses to its entries, a read after all writes; and so must the
        issues of their instructions.
        """
        entries = self._memories[access.memory]
        entries.reach(access.entries)
        last, issued = (entries.accessed, entries.user) if access.write else (entries.written, entries.writer)
        return int(max((last[access.entries] - access.cycles).max(), issued[access.entries].max())) + 1 - shift

    def _record(self, access, cycle, shift):
        """Enters an access of an instruction that issues in `cycle` + `shift`."""
        entries = self._memories[access.memory]
        entries.reach(access.entries)
        at = access.cycles + cycle + shift
        for last, issued in [(entries.accessed, entries.user)] + [(entries.written, entries.writer)] * access.write:
            np.maximum.at(last, access.entries, at)
            np.maximum.at(issued, access.entries, cycle + shift)

    def _free(self, unit, cycles):
        """Whether a unit is free in all these cycles, which ascend."""
        busy = self._busy[unit]
        at = cycles + BEFORE
        at = at[at < len(busy)]
        return (len(at) == 0 or at[0] >= 0) and not busy[at].any()

    def _grow(self, unit, cycles):
        """Makes room in a unit's account for cycles below `cycles`."""
        busy = self._busy[unit]
        if cycles + BEFORE > len(busy):
            self._busy[unit] = np.concatenate([busy, np.zeros(cycles + BEFORE - len(busy) + 1024, bool)])
