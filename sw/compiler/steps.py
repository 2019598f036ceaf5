"""Steps: instructions that kernels make and that the scheduler gives cycles.

A kernel turns an operation of the graph into steps, each after those whose results it reads. A step
is one instruction, or several at a fixed distance, and may have bounds: cycles before which it must
not issue. A step does not list what it reads and writes; the scheduler derives that from
`marey.hdl.timing.uses`.
"""

from dataclasses import dataclass

from ...hdl.spec.isa import Instruction
from ...hdl.timing import Unit

REGISTERS, ORIGIN = "registers", "origin"
"""Values of `After.unit` that are no units. REGISTERS: the address registers; their last use is the
cycle from which the register written last can be read. ORIGIN: the section's origin, cycle 0."""


@dataclass(frozen=True)
class After:
    """A bound: a step issues at least `distance` cycles after the last use of a unit by any step
    placed before it."""

    unit: Unit | str
    distance: int = 1


IN_ORDER = (After(Unit.ISSUE),)
"""The bound of instructions that the sequencer executes itself: they issue after all instructions
placed before."""
WITH_REGISTERS = (After(REGISTERS, 0),)
"""The bound of steps that issue after the address registers have been computed."""


@dataclass(frozen=True)
class Step:
    """Instructions that are placed together: instruction n issues `offsets[n]` cycles after the
    first.

    `after`: bounds. `barrier`: no step that is placed later issues before this one. `planned`:
    instructions that the scheduler uses instead of the step's while it looks for a cycle, such as those
    with one block of the KV cache. `choices`: steps with the same result, one of which the scheduler
    takes in the place of this one; the step is then nothing by itself.
    """

    instructions: tuple[Instruction, ...]
    offsets: tuple[int, ...] = (0,)
    after: tuple[After, ...] = ()
    barrier: bool = False
    planned: tuple[Instruction, ...] = ()
    choices: tuple["Step", ...] = ()


def step(*instructions: Instruction, offsets: tuple[int, ...] = (0,), **how) -> Step:
    """A step of these instructions; `how`: other fields of `Step`."""
    return Step(instructions, offsets, **how)


def best(choices: list[Instruction | Step]) -> Step:
    """A step with choices: steps, or instructions that are steps by themselves."""
    return Step((), choices=tuple(choice if isinstance(choice, Step) else step(choice) for choice in choices))
