"""The walk of a program: which instruction issues in which cycle, with which addresses and counts.

`trace` steps through a program as the sequencer does. Cycle 0 is the cycle of the start strobe.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..sequencer import Sequencer
from ..spec.config import Config, address_bits
from ..spec.errors import MareyError
from ..spec.isa import POSITION_BITS, WAIT_BITS, Instruction, Isa, Op, Place, Source, isa_of
from .distances import issue_cycles
from .several import Number, in_run, larger

ISSUE_LIMIT = 1 << 20
"""A program that issues more instructions than this is taken not to halt."""


class ProgramError(MareyError):
    """A program that cannot be run. The message is one line that says where and why."""


class Issue(NamedTuple):
    """One issue of an instruction, in one run, or in several runs that are walked together (`several.Number`).

    cycle        the cycle in which it issues
    pc           program counter
    instruction  as it stands in the program
    operands     by name, with addresses and counts resolved to numbers
    period       the PERIOD that holds then, in cycles
    position     the position of the token that is computed then
    token        that token
    """

    cycle: Number
    pc: int
    instruction: Instruction
    operands: dict
    period: Number = 0
    position: Number = 0
    token: Number = 0

    @property
    def op(self) -> Op:
        return self.instruction.op

    def in_run(self, run: int) -> "Issue":
        """The issue as it is in one of the runs."""
        operands = {name: in_run(value, run) for name, value in self.operands.items()}
        cycle, period, position, token = (in_run(each, run) for each in (self.cycle, self.period, self.position, self.token))
        return Issue(cycle, self.pc, self.instruction, operands, period, position, token)

    @property
    def used_period(self) -> Number:
        """The period, if the beats of the instruction depend on it; else 0."""
        return self.period if self.operands.get("paced") or self.operands.get("count", 1) > 1 else 0


def blocks(config: Config, position: Number) -> Number:
    """Blocks of the KV cache that positions 0 to `position` fill; the last block may be filled in
    part.
    """
    return position // config.block + 1


def run_cycles(halt: Issue) -> Number:
    """Cycles of a run, as the tile counts them, from the issue of its HALT."""
    return halt.cycle + Sequencer.HALT_CYCLES


def trace(config: Config, program: Sequence[Instruction], entry: int = 0, *, position: int = 0,
          count: int = 1, token: int = 0, choose: Callable[[], int] = lambda: 0) -> Iterator[Issue]:
    """The issues of a run in order, the last HALT included.

    The run begins at instruction `entry`, with `token` at `position`, and makes `count` tokens.
    `choose` is called at each TOKEN and returns the new token; the token has no influence on any
    cycle.

    Raises ProgramError if the run leaves the program, does not halt, or uses an address register
    that was never SET.
    """
    state = State.of(config, entry, position=position, count=count, token=token)
    for _ in range(ISSUE_LIMIT):
        issue = state.next_issue(program)
        yield issue
        if state.ends(issue):
            return
        state.execute(issue, choose)
    raise ProgramError(f"{state.pc}: still running after {ISSUE_LIMIT} instructions")


@dataclass
class State:
    """What the sequencer holds in a run: where it is, the token's state, address registers and loop
    counters.

    Runs of other positions and tokens may be walked together, since neither changes which instruction follows: turns of
    loops are numbers in the program.
    """

    config: Config
    cycle: Number
    pc: int
    position: Number
    count: int
    token: Number
    period: Number = 0
    registers: list[Number | None] = field(init=False)
    counters: list[int] = field(init=False)
    _isa: Isa = field(init=False, repr=False)

    def __post_init__(self):
        self._isa = isa_of(self.config)
        self.registers = [0] + [None] * (self._isa.registers - 1)
        self.counters = [0] * self._isa.counters

    @classmethod
    def of(cls, config: Config, entry: int, *, position: Number, count: int, token: Number) -> "State":
        """The state at the start of a run, or of several."""
        return cls(config, Sequencer.first_issue(config), entry, position, count, token)

    @property
    def blocks(self) -> Number:
        return blocks(self.config, self.position)

    def next_issue(self, program: Sequence[Instruction]) -> Issue:
        """The issue of the instruction at `pc` in this cycle; then the state is that of the next issue, but for what
        `execute` does.

        ProgramError if the run leaves the program, or uses an address register that was never SET.
        """
        if self.pc >= len(program):
            raise ProgramError(f"{self.pc}: the program ends without HALT")
        instruction = program[self.pc]
        operands = self.resolve(instruction)
        issue = Issue(self.cycle, self.pc, instruction, operands, self.period, self.position, self.token)
        self.cycle = self.cycle + issue_cycles(self.config, instruction)
        self.pc += 1
        return issue

    def ends(self, issue: Issue) -> bool:
        """Whether the run ends with an issue."""
        return issue.op is Op.HALT and not (issue.operands["if_prompt"] and self.count)

    def register(self, number: int, pc: int, instruction: Instruction) -> Number:
        """What an address register holds; ProgramError if it was never SET."""
        value = self.registers[number]
        if value is None:
            raise ProgramError(f"{pc}: {instruction}: address register {number} was never SET")
        return value

    def resolve(self, instruction: Instruction) -> dict:
        """The operands, with registers added to addresses, and counts in blocks multiplied out."""
        resolved = dict(instruction.operands)
        if instruction.addresses:
            moduli = self._isa.moduli(instruction.op)
            for name, value in instruction.addresses:
                resolved[name] = (value.offset + self.register(value.base, self.pc, instruction)) % moduli[name]
        if instruction.op is Op.MOVE and resolved["to"] is Place.WRAM:
            # W-RAM takes the lower bits, so two halves of it may take turns.
            resolved["near"] %= 1 << address_bits(self.config.wram_depth)
        if count := instruction.counted_in_blocks:
            resolved[count] = self.blocks << resolved[count]
        return resolved

    def execute(self, issue: Issue, choose: Callable[[], int]) -> None:
        """The effect of an instruction on this state.

        HALT and the instructions of the slices have none.
        """
        operands = issue.operands
        match issue.op:
            case Op.MXM | Op.VXM | Op.SFU | Op.MOVE:
                pass
            case Op.NOP:
                self.cycle = self.cycle + self._pause(issue)
            case Op.SET:
                self.registers[operands["register"]] = operands["value"]
            case Op.ADD:
                self._write(operands, self.register(operands["register"], issue.pc, issue.instruction))
            case Op.INDEX:
                source = self.token if operands["source"] is Source.TOKEN else self.position
                counted = source >> operands["right"]
                if operands["bits"]:
                    counted %= 1 << operands["bits"]
                self._write(operands, counted * operands["times"])
            case Op.PERIOD if self.config.profile.counts_in_registers:
                self.period = operands["value"]
            case Op.PERIOD:
                self.period = larger(operands["least"], operands["value"] + self.blocks * operands["times"])
            case Op.LOOP:
                self._loop(operands)
            case Op.TOKEN:
                self.token, self.position, self.count = choose(), self.position + 1, self.count - 1
                if self.count:
                    self.pc = operands["target"]
            case Op.STEP:
                self.position = (self.position + operands["value"]) % (1 << POSITION_BITS)

    def _write(self, operands, addend):
        """Sets an address register to the operand `value` plus a number, modulo the register's
        width.
        """
        modulus = 1 << self._isa.register_bits
        self.registers[operands["register"]] = (operands["value"] + addend) % modulus

    def _pause(self, issue):
        """Cycles of a NOP besides its own and its wait."""
        operands, wait = issue.operands, issue.instruction.wait
        if self.config.profile.counts_in_registers:
            more = self.register(operands["register"], issue.pc, issue.instruction)
            return (wait + more) % (1 << WAIT_BITS) - wait
        cycles = operands["turns"] * self.period
        return cycles + (self.blocks << operands["blocks"] - 1 if operands["blocks"] else 0)

    def _loop(self, operands):
        counter = operands.get("counter", 0)
        self.counters[counter] += 1
        if self.counters[counter] == operands["count"]:
            self.counters[counter] = 0
        else:
            self.pc = operands["target"]
