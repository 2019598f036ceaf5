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
from functools import partial

import numpy as np

from ...hdl.spec.config import Config
from ...hdl.spec.isa import Address, Instruction, Op, Reduce
from ...hdl.timing import VXM_ENGINES, Issue, Memory, Unit, Use, issue_cycles, uses
from ...hdl.vxm.vxm import Vxm
from .accesses import LONG_AGO, Access, Entries
from .decisions import Decisions
from .steps import ORIGIN, REGISTERS, After, Step

BEFORE = -LONG_AGO
"""Cycles before a section's origin in which a timeline can place an instruction."""
REDUCER = "reducer"
"""The VXM's reducer, as a unit: a round that is reduced keeps it from its first beat to its last."""
RIVALS = {unit: unit.rival for unit in Unit if unit.rival}
TRIED = 64
"""Cycles that are tried at once when the first free one is looked for."""


@dataclass(frozen=True)
class Boundary:
    """The state at the origin, cycle 0, of a section: a VXM pass of the section before it has its
    last beat there.

    The pass writes `heads` heads of `size` granules each, from MEM granule `granule` on. Its last `last` beats
    are in the last `last` cycles, one a granule, and one head ends at least `apart` cycles behind the other.
    """

    granule: int
    heads: int
    size: int
    last: int
    apart: int = 0


@dataclass
class Timeline:
    """The schedule of a section: instructions with the cycles, counted from the section's origin,
    in which they issue.

    The origin is the first issue, or, with a `boundary`, the last beat of the pass before the
    section. `registers`: {number of an address register: value} (see `Registers`). `period`: the
    value of the last PERIOD. `decisions`: takes one of a step's choices. `placed`: (cycle, instruction), in the order of
    placing.
    `registers_ready`: the cycle from which all address registers can be read. `barrier`: no step may
    issue before this cycle.
    """

    config: Config
    registers: dict[int, int]
    boundary: Boundary | None = None
    period: int = 1
    decisions: Decisions = field(default_factory=Decisions)
    placed: list[tuple[int, Instruction]] = field(default_factory=list)
    registers_ready: int = LONG_AGO
    barrier: int = LONG_AGO

    def __post_init__(self):
        self.registers = dict(self.registers)
        self._ready: dict[int, int] = {}
        self._known: dict[tuple, tuple] = {}
        self._memories = {memory: Entries() for memory in Memory}
        self._busy = {unit: np.zeros(BEFORE, bool) for unit in (*RIVALS, REDUCER, Unit.ISSUE)}
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
        cycles = np.full((boundary.heads, boundary.size), Vxm.latency(config))
        cycles[:, -boundary.last:] -= np.arange(boundary.last)[::-1]
        cycles -= boundary.apart * np.arange(boundary.heads)[::-1, None]
        entries, which = self._memories[Memory.MEM], boundary.granule + np.arange(cycles.size)
        entries.reach(int(which[-1]) + 1)
        entries.written[which] = entries.accessed[which] = cycles.ravel()

    def _keep_busy(self, unit, until):
        """Marks a unit as in use in all cycles up to and including `until`."""
        self._grow(unit, until + 1)
        self._busy[unit][:BEFORE + until + 1] = True

    def continued(self, origin: int, first: int) -> "Timeline":
        """An empty timeline that continues this one: its cycle 0 is this one's cycle `origin`, and its first
        issue is in its cycle `first` or later. Units and memories are as this one leaves them."""
        twin = Timeline(self.config, self.registers, period=self.period, decisions=self.decisions)
        twin._memories = {memory: entries.moved(-origin) for memory, entries in self._memories.items()}
        twin._busy = {unit: busy[origin:].copy() for unit, busy in self._busy.items()}
        # The last issue can be longer ago than a timeline reaches back: a wide product takes so many cycles.
        twin._keep_busy(Unit.ISSUE, max(first - 1, -BEFORE))
        return twin

    def origin_of(self, later: "Timeline") -> int:
        """The first cycle in which the origin of a later section can be, if that section was not scheduled behind
        this one: it uses each unit only when this one has used it for the last time."""
        first = self.beats(Unit.ISSUE) + 1 - later.first_issue
        for cycle, instruction in later.placed:
            if getattr(instruction.operands.get("blocks"), "value", 0):
                continue  # the scores, long after the origin
            units, accesses = later._uses(instruction)
            first = max([first, *(self._earliest(access, cycle) for access in accesses),
                         *(self.beats(RIVALS.get(unit, unit)) + 1 - int(cycles[0]) - cycle for unit, cycles in units.items())])
        return first

    def schedule(self, steps: Iterable[Step]) -> "Timeline":
        """Places steps, one after another, each as early as possible; returns the timeline.

        Of a step's choices it takes the one with which the last of all steps ends first, if each step
        in between takes the choice that ends first; of those that are alike in this, the one with the fewest
        instructions, and then the one that ends first.
        """
        steps = list(steps)
        for number, step in enumerate(steps):
            choices = step.choices or (step,)
            taken = self.decisions.take(partial(self._best, choices, steps[number + 1:])) if len(choices) > 1 else 0
            self.place(choices[taken])
        return self

    def _best(self, choices, steps):
        """The number of the choice with which the last of the steps behind it ends first; see `schedule`."""
        ends = [_end_of(self._find(choice)) for choice in choices]
        order = sorted(range(len(choices)), key=lambda each: (len(choices[each].instructions), ends[each]))
        last = [self.copy()._last_end([choices[each], *steps]) for each in order]
        return order[int(np.argmin(last))]

    def _last_end(self, steps):
        """Places steps, each with the choice that ends first; returns the end of the last."""
        for step in steps:
            choices = step.choices or (step,)
            found = [self._find(choice) for choice in choices]
            ends = [_end_of(each) for each in found]
            end = min(ends)
            first = ends.index(end)
            self._put(choices[first], *found[first])
        return end

    def place(self, step: Step) -> int:
        """Places a step without choices as early as possible; returns the cycle of its first
        instruction."""
        found = self._find(step)
        self._put(step, *found)
        return found[0]

    def _put(self, step, cycle, units, accesses):
        """Places a step without choices; what follows it is what `_find` returns for it."""
        for unit, cycles in units:
            self._grow(unit, int(cycles[-1]) + cycle + 1)
            self._busy[unit][cycles + cycle + BEFORE] = True
        for shift, access in accesses:
            self._record(access, cycle, shift)
        instructions = step.instructions
        self.placed += [(cycle + offset, instruction)
                        for offset, instruction in zip(step.offsets, instructions, strict=True)]
        for offset, instruction in zip(step.offsets, instructions, strict=True):
            self._update(instruction, cycle + offset)
        if step.barrier:
            self.barrier = cycle + issue_cycles(self.config, instructions[0])

    def _bound(self, after: After):
        """The first cycle that a bound allows."""
        if after.unit in (REGISTERS, ORIGIN):
            return (self.registers_ready if after.unit == REGISTERS else 0) + after.distance
        last = self.beats if after.unit in self._busy else self.last
        return last(after.unit) + after.distance

    def _find(self, step):
        """Finds the first cycle for a step without choices.

        Returns the cycle, and what the step uses if its first instruction issues in cycle 0: [(unit,
        cycles)], and [(offset, Access)] of its accesses to memories.
        """
        instructions = step.planned or step.instructions
        placed = list(zip(step.offsets, instructions, strict=True))
        after = max([self.barrier, *(self._bound(bound) for bound in step.after)]
                    + [self._ready[value.base] - offset for offset, instruction in placed
                       for value in instruction.operands.values() if isinstance(value, Address) and value.base in self._ready])
        parts = [(offset, self._uses(instruction)) for offset, instruction in placed]
        accesses = [(shift, access) for shift, (_, found) in parts for access in found]
        issuable = int(self._busy[Unit.ISSUE].argmin()) - BEFORE
        cycle = max([after, issuable, *(self._earliest(access, shift) for shift, access in accesses)])
        units = [(unit, cycles + shift) for shift, (found, _) in parts for unit, cycles in found.items()]
        free = 0
        while free < len(units):
            # Each unit in turn moves the step on, until the step is in the way of none.
            for unit, cycles in units:
                later = self._blocked(RIVALS.get(unit, unit), cycles, cycle)
                cycle, free = cycle + later, 0 if later else free + 1
        return cycle, units, accesses

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
        return uses(self.config, Issue(cycle, 0, instruction, self._resolved(instruction), self.period))

    def _resolved(self, instruction):
        """The operands of an instruction, with addresses as numbers."""
        return {name: value.offset + self.registers.get(value.base, 0) if isinstance(value, Address) else value
                for name, value in instruction.operands.items()}

    def copy(self) -> "Timeline":
        """A copy, for a trial or for another end."""
        twin = copy(self)
        twin.registers, twin.placed, twin._ready = dict(self.registers), list(self.placed), dict(self._ready)
        twin._busy = {unit: busy.copy() for unit, busy in self._busy.items()}
        twin._memories = {memory: entries.copy() for memory, entries in self._memories.items()}
        return twin

    def _uses(self, instruction):
        """({unit: cycles}, [Access]) of an instruction that issues in cycle 0; only units that take
        one use a cycle, and `REDUCER`."""
        key = instruction.op, self.period, frozenset(self._resolved(instruction).items())
        if key not in self._known:
            self._known[key] = self._used(instruction)
        return self._known[key]

    def _used(self, instruction):
        """What `_uses` returns, and keeps for the trials."""
        units = {Unit.ISSUE: np.arange(issue_cycles(self.config, instruction))}
        accesses = []
        found = self.uses(instruction)
        for use in found:
            if use.unit.rival:
                units[use.unit] = np.union1d(units[use.unit], use.cycles) if use.unit in units else np.sort(use.cycles)
            if use.unit is Unit.VXM_BEAT and instruction["reduce"] is not Reduce.NONE:
                rounds = use.cycles.reshape(instruction["outer"], -1)
                units[REDUCER] = np.concatenate([np.arange(each[0], each[-1] + 1) for each in rounds])
            if access := use.unit.access:
                cycles = np.repeat(use.cycles, use.entries_per_cycle(self.config))
                accesses.append(Access(access.memory, use.entries(self.config), cycles, access.writes))
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
        entries.reach(access.end)
        last, issued = (entries.accessed, entries.user) if access.write else (entries.written, entries.writer)
        return int(max((last[access.entries] - access.cycles).max(), issued[access.entries].max())) + 1 - shift

    def _record(self, access, cycle, shift):
        """Enters an access of an instruction that issues in `cycle` + `shift`."""
        entries = self._memories[access.memory]
        entries.reach(access.end)
        at = access.cycles + cycle + shift
        for last, issued in [(entries.accessed, entries.user)] + [(entries.written, entries.writer)] * access.write:
            np.maximum.at(last, access.entries, at)
            np.maximum.at(issued, access.entries, cycle + shift)

    def _blocked(self, unit, cycles, cycle):
        """0 if a unit is free in all these cycles, which ascend, counted from `cycle`; else how much later they must be at
        least."""
        busy, first, count = self._busy[unit], int(cycles[0]) + cycle + BEFORE, len(cycles)
        if int(cycles[-1]) + cycle + BEFORE - first + 1 == count:
            if not busy[first:first + count].any():
                return 0
            used = np.concatenate([[first - 1], np.flatnonzero(busy[first:]) + first, [len(busy) + count]])
            return int(used[np.argmax(np.diff(used) > count)]) + 1 - first
        at = cycles[:cycles.searchsorted(len(busy) - BEFORE - cycle)] + (cycle + BEFORE)
        if not busy[at].any():
            return 0
        later = np.minimum(at[:, None] + np.arange(1, TRIED), len(busy) - 1)
        free = np.flatnonzero(~busy[later].any(axis=0))
        return int(free[0]) + 1 if len(free) else TRIED

    def _grow(self, unit, cycles):
        """Makes room in a unit's account for cycles below `cycles`."""
        busy = self._busy[unit]
        if cycles + BEFORE >= len(busy):
            self._busy[unit] = np.concatenate([busy, np.zeros(cycles + BEFORE - len(busy) + 1024, bool)])


def _end_of(found):
    """The last cycle in which a step would use a unit; `found`: what `Timeline._find` returns for it."""
    cycle, units, _ = found
    return cycle + max(int(cycles[-1]) for _, cycles in units)
