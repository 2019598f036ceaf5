"""The pen: writes the instructions of a program for external memory one behind another, and counts their cycles."""

from dataclasses import replace

from ...hdl.dram import Dram
from ...hdl.spec.config import Config
from ...hdl.spec.isa import WAIT_BITS, Instruction, Op
from ...hdl.timing import Issue, issue_cycles, next_issue, uses
from ...hdl.timing.walk import State

CHUNKS, LAYERS, POSITIONS, CELLS = range(4)
"""Loop counters."""


class Pen:
    """Writes instructions behind others, and knows their cycles.

    `code`: the instructions. `last`: the last cycle in which something but a MOVE uses
    a unit. `free`: the first cycle in which a MOVE may issue. `moved`: the cycle of the last MOVE's issue, and it.
    """

    def __init__(self, config: Config, registers: dict[int, int], code: list[Instruction]):
        self.config, self.code, self.last, self.free = config, [], 0, 0
        self.moved: tuple[int, Instruction] | None = None
        self._state = State.of(config, 0, position=0, count=1, token=0)
        self._state.cycle = 0
        self._state.registers = [0] + [registers.get(number, 0) for number in range(1, len(self._state.registers))]
        for instruction in code:
            self.add(instruction)

    @property
    def at(self) -> int:
        """The cycle of the next issue."""
        return self._state.cycle

    def add(self, instruction: Instruction) -> None:
        """Writes an instruction."""
        self._state.pc = 0
        issue = self._state.next_issue([instruction])
        if issue.op not in (Op.LOOP, Op.TOKEN, Op.HALT):
            self._state.execute(issue, lambda: 0)
        self.code.append(instruction)
        if moving := issue.op is Op.MOVE:
            self.moved = issue.cycle, instruction
        for use in uses(self.config, issue):
            self.last = max(self.last, int(use.cycles[-1]) if not moving else 0)

    def move(self, instruction: Instruction) -> None:
        """Writes a MOVE; `free` and `last` follow it."""
        self.add(instruction)
        self.follow(*self.moved)

    def follow(self, issued: int, move: Instruction) -> None:
        """Lets `free` and `last` follow a MOVE that issues in a cycle."""
        self.free = issued + Dram.plan(self.config).busy(move["count"])
        operands = move.operands | {"far": 0, "near": 0}
        self.last = max(self.last, *(int(use.cycles[-1]) for use in uses(self.config, Issue(issued, 0, move, operands))))

    def turns(self, count: int, since: int) -> None:
        """Goes on behind a LOOP: what it has written since a cycle is done so many times, one after another."""
        more = (count - 1) * (self.at - since)
        self._state.cycle += more
        self.last += more

    def until(self, cycle: int) -> None:
        """Waits, so that the next issue is in this cycle or later."""
        most, nop = (1 << WAIT_BITS) - 1, next_issue(self.config, Op.NOP)
        while (left := cycle - self.at) > 0:
            wait = min(max(left - nop, 0), most)
            self.add(Instruction(Op.NOP, wait, {"turns": 0, "blocks": 0}))


def shortened(config: Config, code: list[Instruction], cycles: int) -> list[Instruction]:
    """Code whose last instruction, a NOP, waits so many cycles less."""
    last = code[-1]
    left = issue_cycles(config, last) - cycles
    if last.op is not Op.NOP or left < 0:
        raise ValueError(f"{last} has no {cycles} cycles to spare")
    if left < next_issue(config, Op.NOP):
        return code[:-1]
    return [*code[:-1], replace(last, wait=last.wait - cycles)]
