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
from ...hdl.spec.isa import Address, Instruction, Op
from ...hdl.timing import VXM_ENGINES, Issue, Memory, Unit, Use, issue_cycles, uses
from ...hdl.vxm.vxm import Vxm
from .accesses import LONG_AGO, Entries
from .decisions import Decisions
from .demand import REDUCER, Demand, bits_of, delay, demand_of
from .steps import ORIGIN, REGISTERS, After, Step

BEFORE = -LONG_AGO
"""Cycles before a section's origin in which a timeline can place an instruction."""
RIVALS = {unit: unit.rival for unit in Unit if unit.rival} | {unit: unit for unit in (REDUCER, Unit.ISSUE)}
"""By unit that takes one use a cycle: the unit that must be free when it is in use."""


@dataclass(frozen=True)
class Boundary:
    """The state at the origin, cycle 0, of a section: a VXM pass of the section before it has its
    last beat there.

    The pass writes `heads` heads of `size` granules each, `hop` apart, from MEM granule `granule` on; what a head has
    beyond the next one's begin is written again. Its last `last` beats are in the last `last` cycles, one a granule, and
    one head ends at least `apart` cycles behind the other. `issue`: the first cycle in which an instruction can issue.
    `products`: the last cycle in which the MXM is in use.
    """

    granule: int
    heads: int
    hop: int
    size: int
    last: int
    apart: int = 0
    issue: int = 0
    products: int = 0


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
        self._known: dict[tuple, tuple[Step, Demand]] = {}
        self._memories = {memory: Entries() for memory in Memory}
        # The cycles in which a unit is in use, as bits; bit 0 is cycle -BEFORE.
        self._busy = dict.fromkeys(RIVALS, 0)
        self._ends: dict[Unit, int] = {}
        self._keep_busy(Unit.ISSUE, self.boundary.issue - 1 if self.boundary else -1)
        if self.boundary:
            self._begin_at(self.boundary)

    def _begin_at(self, boundary):
        """Enters what the section finds at its origin."""
        config = self.config
        self._keep_busy(Unit.VXM_BEAT, 0)
        for unit in (Unit.MXM_BEAT, Unit.MXM_ENGINE):
            self._keep_busy(unit, boundary.products)
        for engine in VXM_ENGINES[:config.engines]:
            self._keep_busy(engine, Vxm.leaving_cycles(config))
        cycles = np.full((boundary.heads, boundary.size), Vxm.latency(config))
        cycles[:, -boundary.last:] -= np.arange(boundary.last)[::-1]
        cycles -= boundary.apart * np.arange(boundary.heads)[::-1, None]
        first = boundary.granule + boundary.hop * np.arange(boundary.heads)[:, None]
        entries, which = self._memories[Memory.MEM], first + np.arange(boundary.size)
        entries.reach(int(which[-1, -1]) + 1)
        # A granule that two heads write is listed twice, and the last counts.
        entries.written[which] = entries.accessed[which] = cycles

    def _keep_busy(self, unit, until):
        """Marks a unit as in use in all cycles up to and including `until`."""
        self._busy[unit] |= bits_of(0, BEFORE + until + 1)

    def continued(self, origin: int, first: int) -> "Timeline":
        """An empty timeline that continues this one: its cycle 0 is this one's cycle `origin`, and its first
        issue is in its cycle `first` or later. Units and memories are as this one leaves them."""
        twin = Timeline(self.config, self.registers, period=self.period, decisions=self.decisions)
        twin._memories = {memory: entries.moved(-origin) for memory, entries in self._memories.items()}
        twin._busy = {unit: busy >> origin for unit, busy in self._busy.items()}
        twin._known = self._known
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
            demand = demand_of(self.config, [(0, instruction)], later.uses)
            first = max([first, *(self._earliest(access) - cycle for access in demand.accesses),
                         *(self.beats(RIVALS[unit]) + 1 - _first(bits) - cycle for unit, bits in demand.units.items())])
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
        ends = [self._end_of(choice) for choice in choices]
        order = sorted(range(len(choices)), key=lambda each: (len(choices[each].instructions), ends[each]))
        last = [self.copy()._last_end([choices[each], *steps]) for each in order]
        return order[int(np.argmin(last))]

    def _last_end(self, steps):
        """Places steps, each with the choice that ends first; returns the end of the last."""
        for step in steps:
            choices = step.choices or (step,)
            found = [self._find(choice) for choice in choices]
            ends = [cycle + demand.end for cycle, demand in found]
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

    def _end_of(self, step):
        """The last cycle in which a step without choices would use a unit."""
        cycle, demand = self._find(step)
        return cycle + demand.end

    def _put(self, step, cycle, demand):
        """Places a step without choices; what follows it is what `_find` returns for it."""
        for unit, bits in demand.units.items():
            self._busy[unit] |= bits << cycle + BEFORE
        for unit, end in demand.ends.items():
            self._ends[unit] = max(self._ends.get(unit, LONG_AGO), end + cycle)
        for access in demand.accesses:
            self._record(access, cycle)
        for offset, instruction in zip(step.offsets, step.instructions, strict=True):
            self.placed.append((cycle + offset, instruction))
            self._update(instruction, cycle + offset)
        if step.barrier:
            self.barrier = cycle + issue_cycles(self.config, step.instructions[0])

    def _bound(self, after: After):
        """The first cycle that a bound allows. KeyError for a unit without a rival that no step has used."""
        if after.unit in (REGISTERS, ORIGIN):
            return (self.registers_ready if after.unit == REGISTERS else 0) + after.distance
        return (self.beats(after.unit) if after.unit in self._busy else self._ends[after.unit]) + after.distance

    def _find(self, step):
        """Finds the first cycle for a step without choices; returns it, and the step's demand."""
        demand, issue = self._demand(step), self._busy[Unit.ISSUE]
        cycle = max([self.barrier, _first(~issue) - BEFORE, *(self._bound(bound) for bound in step.after),
                     *(self._ready.get(register, LONG_AGO) - issued for register, issued in demand.registers),
                     *(self._earliest(access) for access in demand.accesses)])
        free = 0
        while free < len(demand.units):
            # Each unit in turn moves the step on, until the step is in the way of none.
            for unit, bits in demand.units.items():
                later = delay(self._busy[RIVALS[unit]] >> cycle + BEFORE, bits)
                cycle, free = cycle + later, 0 if later else free + 1
        return cycle, demand

    def _demand(self, step):
        """The demand of a step without choices, which the trials keep."""
        key = id(step), self.period, *self.registers.items()
        if key not in self._known:
            placed = zip(step.offsets, step.planned or step.instructions, strict=True)
            # The step is kept, too, so that no other can have its id.
            self._known[key] = step, demand_of(self.config, placed, self.uses)
        return self._known[key][1]

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
        """The last cycle in which a unit is in use; for units that take one use a cycle."""
        busy = self._busy[unit]
        return busy.bit_length() - 1 - BEFORE if busy else LONG_AGO

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
        twin._busy, twin._ends = dict(self._busy), dict(self._ends)
        twin._memories = {memory: entries.copy() for memory, entries in self._memories.items()}
        return twin

    def _earliest(self, access):
        """The first cycle for a step with this access.

        A write must come after all accesses to its entries, a read after all writes; and so must the
        issues of their instructions.
        """
        entries = self._memories[access.memory]
        entries.reach(access.end)
        last, issued = (entries.accessed, entries.user) if access.write else (entries.written, entries.writer)
        used, issues = last[access.entries] - access.first, issued[access.entries]
        return int(max(np.maximum.reduce(used), np.maximum.reduce(issues) - access.issued)) + 1

    def _record(self, access, cycle):
        """Enters an access of a step that is placed in `cycle`."""
        entries, which = self._memories[access.memory], access.entries
        entries.reach(access.end)
        at, issued = access.last + cycle, access.issued + cycle
        entries.accessed[which] = np.maximum(entries.accessed[which], at)
        entries.user[which] = np.maximum(entries.user[which], issued)
        if access.write:
            entries.written[which] = np.maximum(entries.written[which], at)
            entries.writer[which] = np.maximum(entries.writer[which], issued)


def _first(bits):
    """The number of the lowest bit that is 1."""
    return (bits & -bits).bit_length() - 1
