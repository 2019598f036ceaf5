"""Turns instructions with cycles into a program: their distances become waits."""

from dataclasses import replace

from ...hdl.spec.config import Config
from ...hdl.spec.isa import WAIT_BITS, Instruction, Op, isa_of
from ...hdl.timing import issue_cycles, next_issue

MAX_WAIT = (1 << WAIT_BITS) - 1


def lay_out(config: Config, timed: list[tuple[int, Instruction]]) -> list[Instruction]:
    """The instructions of `timed`, (cycle of the issue, instruction), with the waits that keep
    these cycles.

    NOPs take over the part of a wait that does not fit its field. After a LOOP they take over the
    whole wait, because a LOOP's own wait would pass in every turn. ValueError if two instructions
    are closer than the sequencer can issue them.
    """
    program = []
    for (cycle, instruction), (after, _) in zip(timed, [*timed[1:], (None, None)], strict=True):
        wait = 0 if after is None else after - cycle - issue_cycles(config, replace(instruction, wait=0))
        if wait < 0:
            raise ValueError(f"{instruction} issues in cycle {cycle}, and the next in {after}: too close")
        least = next_issue(config, Op.NOP)
        own = 0 if instruction.op is Op.LOOP else wait if wait <= MAX_WAIT else MAX_WAIT - least
        program.append(replace(instruction, wait=own))
        wait -= own
        if 0 < wait < least:
            raise ValueError(f"{instruction} issues in cycle {cycle}, and the next in {after}: too close for a NOP")
        while wait > 0:
            nop = wait - least if wait <= MAX_WAIT else MAX_WAIT - 2 * least
            program.append(isa_of(config).make(Op.NOP, nop))
            wait -= least + nop
    return program
