"""Faults planted in programs."""

from dataclasses import replace

from marey.sw.program.program import Program


def moved(program: Program, pc: int) -> Program:
    """The program, whose instruction `pc` issues a cycle late, and those after it when they did."""
    instructions = list(program.image.instructions)
    for at, more in ((pc - 1, 1), (pc, -1)):
        instructions[at] = replace(instructions[at], wait=instructions[at].wait + more)
    return replace(program, image=replace(program.image, instructions=instructions))
