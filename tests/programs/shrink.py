"""Makes a failure smaller: fewer runs, fewer instructions, plainer fields."""

from collections.abc import Callable, Iterator
from time import monotonic

from marey.hdl.spec.config import Config
from marey.hdl.spec.isa import WAIT_BITS, EncodingError, Instruction, Op, isa_of
from marey.hdl.timing import ProgramError, issue_cycles, violations
from marey.sim.simulation import BackendError
from marey.sw.runtime.link import LinkError
from tests.machines import Machines

LIMIT_S = 60
"""Seconds that are spent on one failure."""


def shrunk(config: Config, data: int, runs: list, open_machines: Callable[[Config], Machines]) -> list:
    """The fewest and plainest runs found that are legal and still fail; `data`: the seed of the memories' contents."""
    end = monotonic() + LIMIT_S
    smaller = True
    while smaller and monotonic() < end:
        smaller = False
        for fewer in _smaller(config, runs):
            if monotonic() > end:
                break
            if _legal(config, fewer) and _fails(config, data, fewer, open_machines):
                runs, smaller = fewer, True
                break
    return runs


def _smaller(config: Config, runs: list) -> Iterator[list]:
    """Runs that are a little simpler."""
    for half in (runs[-1:], runs[len(runs) // 2:]):
        if len(half) < len(runs):
            yield half
    if len(runs) < 9:
        yield from (runs[:at] + runs[at + 1:] for at in range(len(runs) - 1))
    *before, (program, how) = runs
    for at, instruction in enumerate(program):
        yield [*before, (_without(program, at), how)]
        nop = isa_of(config).make(Op.NOP)
        pause = issue_cycles(config, instruction) - issue_cycles(config, nop)
        if instruction.op is not Op.NOP and 0 <= pause < 1 << WAIT_BITS:
            yield [*before, ([*program[:at], isa_of(config).make(Op.NOP, pause), *program[at + 1:]], how)]
        for plainer in _plainer(config, instruction):
            yield [*before, ([*program[:at], plainer, *program[at + 1:]], how)]
    for name, value in how.items():
        if value > 1:
            yield [*before, (program, how | {name: value % 2})]


def _without(program: list[Instruction], at: int) -> list[Instruction]:
    """The program without an instruction; jumps go where they went."""
    fewer = []
    for instruction in program[:at] + program[at + 1:]:
        target = instruction.operands.get("target", 0)
        moved = instruction.operands | {"target": target - 1} if target > at else instruction.operands
        fewer.append(Instruction(instruction.op, instruction.wait, moved, instruction.note))
    return fewer


def _plainer(config: Config, instruction: Instruction) -> Iterator[Instruction]:
    """The instruction with one field as it is by default."""
    isa = isa_of(config)
    if instruction.op in (Op.SET, Op.ADD, Op.INDEX, Op.SFU):
        return
    plain = isa.make(instruction.op).operands
    for name, value in plain.items():
        if instruction.operands[name] != value and name != "target":
            try:
                yield isa.make(instruction.op, instruction.wait, **(instruction.operands | {name: value}))
            except EncodingError:
                continue


def _legal(config, runs):
    try:
        return all(program and not violations(config, program, **how) for program, how in runs)
    except ProgramError:
        return False


def _fails(config, data, runs, open_machines):
    both = open_machines(config)
    try:
        both.fill(data)
        for program, how in runs:
            both.run(program, **how)
            both.compare_memory()
    except (AssertionError, BackendError, LinkError, ProgramError):
        return True
    finally:
        both.close()
    return False
