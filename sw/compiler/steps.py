"""Steps: what kernels ask of the scheduler.

A kernel turns an operation of the graph into steps, in the order of the data. A step is an instruction, or several whose
distance is fixed, and perhaps a bound: a cycle before which it may not issue. What a step reads and writes need not be said,
because `marey.hdl.timing.uses` and the rules derive it; the scheduler finds the cycles.
"""

from dataclasses import dataclass

from ...hdl.spec.isa import Instruction
from ...hdl.timing import Unit

REGISTERS, ORIGIN = "registers", "origin"
"""In an `After`, in the place of a unit: the address registers, which are in use until what was written can be read; and
the origin of the section, which is cycle 0."""


@dataclass(frozen=True)
class After:
    """A bound: a step issues no earlier than `distance` cycles after the last use of a unit by what is scheduled before it."""

    unit: Unit | str
    distance: int = 1


IN_ORDER = (After(Unit.ISSUE),)
"""The bound of what the sequencer does itself: it issues behind everything that is scheduled before it."""
WITH_REGISTERS = (After(REGISTERS, 0),)
"""The bound of what follows the computation of addresses."""


@dataclass(frozen=True)
class Step:
    """Instructions that issue together: each `offsets` cycles after the first.

    `choices`: several ways to do the same; the scheduler takes the one that ends first. `after`: bounds. `barrier`: no
    later step issues before this one has left the sequencer. `planned`: instructions that stand in the place of those of
    the only choice while the scheduler looks for a cycle.
    """

    choices: tuple[tuple[Instruction, ...], ...]
    offsets: tuple[int, ...] = (0,)
    after: tuple[After, ...] = ()
    barrier: bool = False
    planned: tuple[Instruction, ...] = ()


def step(*instructions: Instruction, offsets: tuple[int, ...] = (0,), **how) -> Step:
    """A step that can be done in one way; `how`: other fields of `Step`."""
    return Step((instructions,), offsets, **how)


def best(choices: list[Instruction], **how) -> Step:
    """A step of one instruction, of which the scheduler takes the choice that ends first; `how`: other fields of `Step`."""
    return Step(tuple((choice,) for choice in choices), **how)
