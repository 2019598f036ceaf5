"""A program whose schedule was edited as text: new instructions with the weights, constants and model of the old ones."""

from dataclasses import replace
from difflib import SequenceMatcher

from ...hdl.spec.errors import MareyError
from ...hdl.spec.isa import Instruction
from ..program.program import Program
from ..program.verified import verify


def with_instructions(program: Program, instructions: list[Instruction]) -> Program:
    """The program with other instructions, checked for every position against the rules of the tile (ProgramError).

    An instruction that stands where one with the same operation code stood keeps its note and its operation in the model's
    graph. MareyError if a streamed program gets more or fewer instructions, since each of its runs begins at a fixed one.
    """
    old = program.image.instructions
    if program.stream and len(instructions) != len(old):
        raise MareyError(f"the edited text has {len(instructions)} instructions, and {program.name or 'the program'} "
                         f"{len(old)}: a streamed program must keep its number of instructions")
    pairs = _aligned([instruction.op for instruction in old], [instruction.op for instruction in instructions])
    # The first range begins with the text, also if that has more instructions in front.
    if lost := [at for _, at in program.entries[1:] if at not in pairs]:
        raise MareyError(f"the edited text has no instruction in the place of instruction {lost[0]}, with which a run begins: "
                         "keep it")
    kept = {new: replace(instructions[new], note=old[at].note, operation=old[at].operation) for at, new in pairs.items()}
    edited = replace(
        program, image=replace(program.image, instructions=[kept.get(at, new) for at, new in enumerate(instructions)]),
        sections={pairs[at]: name for at, name in program.sections.items() if at in pairs},
        entries=(program.entries[0], *((first, pairs[at]) for first, at in program.entries[1:])))
    verify(edited)
    return edited


def _aligned(old: list, new: list) -> dict[int, int]:
    """Indices of the old elements that are still there, with their indices in the new list."""
    blocks = SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    return {block.a + at: block.b + at for block in blocks for at in range(block.size)}
