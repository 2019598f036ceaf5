"""What happens in which cycle: the one description of the slices' timing.

`trace` walks a program as the sequencer does and gives each issue its cycle; `uses` says what an
issue then does to every unit of the tile, cycle by cycle. The compiler schedules with it, the verifier
checks with it, the emulator counts with it. Every number comes from a component's LATENCY.
Cycle 0 is the cycle of the start strobe.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .config import Config, address_bits
from .errors import MareyError
from .isa import ADDRESS_REGISTERS, COUNTERS, Address, Instruction, Isa, Op
from .mem import Mem
from .mxm import Beats, Mxm
from .sequencer import Sequencer
from .vxm import Repeat, Vxm

FIRST_ISSUE = Sequencer.FIRST_ISSUE
MXM_BEAT = Sequencer.LATENCY + Beats.LATENCY
"""Cycles from the issue of an MXM to its first beat."""
VXM_BEAT = Sequencer.LATENCY + Repeat.LATENCY
"""Cycles from the issue of a VXM to its first beat."""
ISSUE_LIMIT = 1 << 20
"""A program that issues more instructions than this is taken not to halt."""


class ProgramError(MareyError):
    """A program that cannot be run; one line that says where and why."""


@dataclass(frozen=True)
class Issue:
    """An instruction on its way: `cycle` of issue, program counter, operands with addresses resolved."""

    cycle: int
    pc: int
    instruction: Instruction
    operands: dict[str, int]

    @property
    def op(self) -> Op:
        return self.instruction.op


@dataclass(frozen=True)
class Use:
    """What an issue does to a unit: the cycles (int64 array), and the addresses (likewise) if it is a memory."""

    unit: str
    cycles: np.ndarray
    addresses: np.ndarray | None = None


def next_issue(op: Op, wait: int) -> int:
    """Cycles from the issue of an instruction to the next one's."""
    return (Sequencer.LOOP_CYCLES if op is Op.LOOP else 1) + wait


def trace(config: Config, program: Sequence[Instruction], entry: int = 0) -> Iterator[Issue]:
    """The issues of a run, HALT included, in order. ProgramError if it leaves the program or never halts."""
    isa = Isa(config)
    registers: list[int | None] = [0] + [None] * (ADDRESS_REGISTERS - 1)
    counters = [0] * COUNTERS
    cycle, pc = FIRST_ISSUE, entry
    modulus = 1 << isa.register_bits

    def resolve(operand):
        if not isinstance(operand, Address):
            return operand
        if registers[operand.base] is None:
            raise ProgramError(f"{pc}: {instruction}: address register {operand.base} was never SET")
        return (operand.offset + registers[operand.base]) % modulus

    for _ in range(ISSUE_LIMIT):
        if pc >= len(program):
            raise ProgramError(f"{pc}: the program ends without HALT")
        instruction = program[pc]
        operands = {name: resolve(operand) for name, operand in instruction.operands.items()}
        yield Issue(cycle, pc, instruction, operands)
        pc += 1
        match instruction.op:
            case Op.HALT:
                return
            case Op.SET:
                registers[operands["register"]] = operands["value"]
            case Op.ADD:
                before = resolve(Address(0, operands["register"]))
                registers[operands["register"]] = (before + operands["value"]) % modulus
            case Op.LOOP:
                counter = operands["counter"]
                counters[counter] += 1
                if counters[counter] == operands["count"]:
                    counters[counter] = 0
                else:
                    pc = operands["target"]
        cycle += next_issue(instruction.op, instruction.wait)
    raise ProgramError(f"{pc}: still running after {ISSUE_LIMIT} instructions")


def run_cycles(halt: Issue) -> int:
    """Cycles of a run, as the tile counts them, from its HALT."""
    return halt.cycle + Sequencer.HALT_CYCLES


def mxm_beats(config: Config, operands: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Activation and W-RAM words of an MXM, both of shape [outer, inner]; they wrap as the hardware's do."""
    outer, inner = np.arange(operands["outer"])[:, None], np.arange(operands["inner"])
    return tuple((operands[name] + outer * operands[f"{name}_step"] + inner) % (1 << address_bits(depth))
                 for name, depth in (("act", config.mem_depth), ("wgt", config.wram_depth)))


def vxm_granules(config: Config, operands: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Granules that a VXM reads factors from and writes to, one a beat; they wrap as the hardware's do."""
    beats = np.arange(operands["count"] * config.beats_per_result)
    return tuple((operands[name] + beats) % (1 << address_bits(config.granules)) for name in ("scale", "dst"))


def uses(config: Config, issue: Issue) -> list[Use]:
    """Every unit that an issue uses, in which cycles, at which addresses.

    Units: `mxm` (a beat enters), `mem.act`, `wram` (column 0's read; column j's is j cycles later), `drain` (a
    granule comes out), `vxm` (its repeat engine is taken, pauses included), `stream` (a granule is
    taken), `mem.scale`, `mem.write`.
    """
    operands, beats = issue.operands, np.arange(config.beats_per_result)
    if issue.op is Op.MXM:
        act, wgt = mxm_beats(config, operands)
        cycles = issue.cycle + MXM_BEAT + np.arange(act.size)
        last = cycles.reshape(act.shape)[:, -1]
        return [
            Use("mxm", cycles),
            Use("mem.act", cycles, act.ravel()),
            Use("wram", cycles + Mem.LATENCY, wgt.ravel()),
            Use("drain", (last[:, None] + Mxm.latency(config) + beats).ravel()),
        ]
    if issue.op is Op.VXM:
        scale, dst = vxm_granules(config, operands)
        results = np.arange(operands["count"])[:, None]
        cycles = (issue.cycle + VXM_BEAT + results * operands["interval"] + beats).ravel()
        return [
            Use("vxm", np.arange(cycles[0], cycles[-1] + 1)),
            Use("stream", cycles + Vxm.STREAM_LATENCY),
            Use("mem.scale", cycles, scale),
            Use("mem.write", cycles + Vxm.LATENCY, dst),
        ]
    return []
