"""Shapes: what an issue does to each unit, without the cycle of its issue and the place of its addresses.

Issues that differ in nothing else have one shape, so `uses` is asked only once for all of them.
"""

from dataclasses import dataclass, field
from functools import cached_property
from itertools import count

import numpy as np

from ..spec.config import Config
from ..spec.isa import Instruction, Op, Then, To
from .beats import reads_pairs
from .rules import reduced_rounds
from .several import Number
from .turns import ADDRESSES
from .unit import Memory, Unit
from .uses import Use, uses
from .walk import Issue

MOVED_BY = {Unit.ACT_READ: "act", Unit.WRAM_FIRST_READ: "wgt", Unit.WRAM_LAST_READ: "wgt", Unit.X_READ: "x",
            Unit.Y_READ: "y", Unit.MEM_WRITE: "dst", Unit.KEY_WRITE: "dst", Unit.VALUE_WRITE: "dst",
            Unit.VXM_SCALAR_READ: "scalar", Unit.REDUCTION_WRITE: "into",
           Unit.MEM_SENT: "near", Unit.MEM_FILLED: "near", Unit.WRAM_FILLED: "near", Unit.SDRAM_READ: "far",
           Unit.SDRAM_WRITE: "far"}
"""The operand by which a unit's addresses move. Those of the other units are the same for all issues of one shape."""
PLACES = (*ADDRESSES, "scalar", "into")
"""Operands by which addresses of a unit move."""
FACTS = 9
"""Columns of `Shape.columns`."""
NUMBERS = {unit: number for number, unit in enumerate(Unit)}


@dataclass(eq=False)
class Part:
    """One use of a shape.

    use      the use, with cycles from the issue on
    issue    the first issue that had this shape
    first    cycle of its first use, and `last` that of its last
    rounds   of the beats of a VXM that reduces: first and last cycle of each round, int64 [n, 2]; else None
    low      the first entry of its memory that the first issue touched, and `high` the last; 0 without addresses
    moved_by   the operand by which its addresses move, or None
    per_part   so many steps of that address are one step of `entries` entries

    A part that is moved so is that of the moved issue, if no entry leaves the memory: addresses in a slice wrap at a power of
    two that is no smaller. `dst` into the KV cache must move by whole words.

    number   a number of its own, so that what is known of it can be kept without it
    """

    use: Use
    issue: Issue
    first: int
    last: int
    rounds: np.ndarray | None
    low: int = 0
    high: int = 0
    moved_by: str | None = None
    per_part: int = 1
    entries: int = 1
    number: int = field(default_factory=count().__next__)

    @cached_property
    def unit_number(self) -> int:
        """The number of the unit, in the order of `Unit`."""
        return NUMBERS[self.use.unit]

    @cached_property
    def once(self) -> bool:
        """Whether all its cycles differ."""
        cycles = self.use.cycles
        return bool((cycles[1:] > cycles[:-1]).all()) or np.unique(cycles).size == cycles.size


@dataclass(eq=False)
class Shape:
    """The parts of an issue. `base`: the addresses of the first issue that had this shape; see `addresses_of`."""

    parts: list[Part]
    base: tuple[int, ...]

    @cached_property
    def columns(self) -> np.ndarray:
        """A row for each part, int64 [parts, FACTS]: number, number of the unit, first, last, low, high, place of `moved_by` in
        `PLACES` (behind the last one if its addresses do not move), per_part, entries."""
        return np.array([(part.number, part.unit_number, part.first, part.last, part.low, part.high,
                          PLACES.index(part.moved_by) if part.moved_by else len(PLACES), part.per_part, part.entries)
                         for part in self.parts], np.int64).reshape(-1, FACTS)


def kind_of(instruction: Instruction) -> tuple:
    """What the shape of an instruction's issues depends on, whatever they are resolved to."""
    places = PLACES if instruction.op is Op.VXM else ADDRESSES
    return instruction.op, *[value for name, value in instruction.operands.items() if name not in places]


def key_of(config: Config, issue: Issue) -> tuple[Number, ...]:
    """What the shape of an issue depends on besides the kind of its instruction."""
    operands = issue.operands
    counts = operands.get("inner", 0), operands.get("middle", 0), operands.get("interval", 0)
    # What is written into the KV cache is a part of a word; a pair on a tile of one lane reads x and its neighbour; an MXM
    # that reads pairs of words reads the one in which its address is.
    within = operands["dst"] % part_count(config, issue) if issue.op is Op.VXM else 0
    odd = operands["x"] % 2 if issue.op is Op.VXM and config.lanes == 1 else 0
    if issue.op is Op.MXM and reads_pairs(config, operands):
        odd = operands["wgt"] % 2
    # A VXM that multiplies by a vector reads scalars other than number 0 only.
    return *counts, issue.used_period, within, odd, operands.get("scalar") == 0


def part_count(config: Config, issue: Issue) -> int:
    """The addresses `dst` of a VXM that are parts of one word of the KV cache; 1 if it writes elsewhere."""
    match issue.operands["to"]:
        case To.KEYS:
            return config.granules_per_word
        case To.VALUES:
            return config.beats_per_result
    return 1


def shape_of(config: Config, issue: Issue) -> Shape:
    """The shape of an issue of a slice's instruction, or of a TOKEN."""
    parts = []
    for use in uses(config, issue._replace(cycle=0)):
        rounds = reduced_rounds(issue, use) if use.unit is Unit.VXM_BEAT else None
        low = high = 0
        moved_by = _moved_by(issue, use)
        steps = _steps(config, issue, use.unit) if moved_by else (1, 1)
        if use.addresses is not None:
            entries = use.unit.access.entries(config)
            low, high = int(use.addresses.min()) * entries, (int(use.addresses.max()) + use.span) * entries - 1
        parts.append(Part(use, issue, int(use.cycles.min()), int(use.cycles.max()), rounds, low, high, moved_by, *steps))
    return Shape(parts, addresses_of(issue))


def _moved_by(issue, use):
    """The operand by which the addresses of a use move, or None."""
    if use.chained and use.unit is Unit.Y_READ:
        return "x" if issue.operands["then"] is Then.SQUARES else None
    return MOVED_BY.get(use.unit)


def _steps(config, issue, unit):
    """Addresses that are parts of one word, and entries of the memory that a whole one has: (addresses, entries)."""
    access = unit.access
    if access.memory is Memory.WRAM and MOVED_BY[unit] == "dst":
        return part_count(config, issue), config.wide_words
    return 1, access.entries(config)


def addresses_of(issue: Issue) -> tuple[Number, ...]:
    """The operands of an issue in the order of `PLACES`; 0 for one that it does not have."""
    return tuple([issue.operands.get(name, 0) for name in PLACES])
