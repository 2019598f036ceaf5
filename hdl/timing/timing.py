"""What happens in which cycle: the one description of the slices' timing.

`trace` walks a program as the sequencer does and gives each issue its cycle; `uses` says what an
issue then does to every unit of the tile, cycle by cycle. The compiler schedules with it, the verifier
checks with it, the emulator counts with it. Every number comes from a component's LATENCY.
Cycle 0 is the cycle of the start strobe.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..mxm.mxm import Beats, Mxm
from ..scalars.scalars import Scalars
from ..sequencer.sequencer import Sequencer
from ..spec.config import Config, address_bits
from ..spec.errors import MareyError
from ..spec.isa import WAIT_BITS, Address, Instruction, MxmBlocks, Op, Reduce, Sfu, Source, To, VxmBlocks, isa_of
from ..vxm.vxm import Engine, Vxm

ISSUE_LIMIT = 1 << 20
"""A program that issues more instructions than this is taken not to halt."""


class ProgramError(MareyError):
    """A program that cannot be run; one line that says where and why."""


@dataclass(frozen=True)
class Issue:
    """An instruction on its way: `cycle` of issue, program counter, operands with addresses and counts resolved.

    `period`, `position` and `token` are what the registers hold then.
    """

    cycle: int
    pc: int
    instruction: Instruction
    operands: dict
    period: int = 0
    position: int = 0
    token: int = 0

    @property
    def op(self) -> Op:
        return self.instruction.op


@dataclass(frozen=True)
class Use:
    """What an issue does to a unit: the cycles (int64 array), and the addresses (likewise) if it is a memory.

    `delay`: cycles since the beat that does it.
    """

    unit: str
    cycles: np.ndarray
    addresses: np.ndarray | None = None
    delay: int = 0


def mxm_beat(config: Config) -> int:
    """Cycles from the issue of an MXM to its first beat."""
    return Sequencer.latency(config, Op.MXM) + Beats.latency(config)


def vxm_beat(config: Config) -> int:
    """Cycles from the issue of a VXM to its first beat."""
    return Sequencer.latency(config, Op.VXM) + Engine.LATENCY


def sfu_beat(config: Config) -> int:
    """Cycles from the issue of an SFU to its first beat."""
    return Sequencer.latency(config, Op.SFU) + Scalars.COMMAND_LATENCY


def engaged(config: Config, op: Op) -> int:
    """Cycles from the issue of a slice's instruction to the first in which what it has of the one before is lost."""
    if config.compact and op is Op.VXM:
        return vxm_beat(config) - Vxm.entering_cycles(config)
    return 2


def next_issue(config: Config, op: Op, wait: int = 0, bits: int = 0, right: int = 0) -> int:
    """Cycles from the issue of an instruction to the next one's, but for the turns of a NOP; `bits` and `right`: an INDEX's."""
    return Sequencer.issue_cycles(config, op, bits, right) + wait


def issue_cycles(config: Config, instruction: Instruction) -> int:
    """The same of an instruction, its wait included."""
    return next_issue(config, instruction.op, instruction.wait,
                      *(instruction[name] if instruction.op is Op.INDEX else 0 for name in ("bits", "right")))


def blocks(config: Config, position: int) -> int:
    """Blocks of the KV cache that positions 0 to this one fill, the last one perhaps in part."""
    return position // config.block + 1


def trace(config: Config, program: Sequence[Instruction], entry: int = 0, *, position: int = 0, count: int = 1,
          token: int = 0, choose: Callable[[], int] = lambda: 0) -> Iterator[Issue]:
    """The issues of a run, HALT included, in order. ProgramError if it leaves the program or never halts.

    `choose` is asked for the new token at each TOKEN; which one it is changes no cycle.
    """
    isa = isa_of(config)
    registers: list[int | None] = [0] + [None] * (isa.registers - 1)
    counters = [0] * isa.counters
    cycle, pc, period = Sequencer.first_issue(config), entry, 0
    modulus = 1 << isa.register_bits

    def resolve(op, operands):
        resolved = {}
        for name, value in operands.items():
            if isinstance(value, Address):
                if registers[value.base] is None:
                    raise ProgramError(f"{pc}: {instruction}: address register {value.base} was never SET")
                field = isa.command(op)[name]
                value = (value.offset + registers[value.base]) % (1 << field.width)
            resolved[name] = value
        which = operands.get("blocks")
        if which in (MxmBlocks.INNER, MxmBlocks.MIDDLE, VxmBlocks.INTERVAL, VxmBlocks.MIDDLE):
            resolved[which.name.lower()] = blocks(config, position) << resolved[which.name.lower()]
        return resolved

    for _ in range(ISSUE_LIMIT):
        if pc >= len(program):
            raise ProgramError(f"{pc}: the program ends without HALT")
        instruction = program[pc]
        op = instruction.op
        operands = resolve(op, instruction.operands)
        at, cycle = cycle, cycle + issue_cycles(config, instruction)
        yield Issue(at, pc, instruction, operands, period, position, token)
        pc += 1
        match op:
            case Op.HALT if not (operands["if_prompt"] and count):
                return
            case Op.NOP if config.compact:
                if registers[operands["register"]] is None:
                    raise ProgramError(f"{pc - 1}: {instruction}: address register {operands['register']} was never SET")
                cycle += (instruction.wait + registers[operands["register"]]) % (1 << WAIT_BITS) - instruction.wait
            case Op.NOP:
                cycle += operands["turns"] * period
                if operands["blocks"]:
                    cycle += blocks(config, position) << operands["blocks"] - 1
            case Op.SET:
                registers[operands["register"]] = operands["value"]
            case Op.ADD:
                before = registers[operands["register"]]
                if before is None:
                    raise ProgramError(f"{pc - 1}: {instruction}: address register {operands['register']} was never SET")
                registers[operands["register"]] = (before + operands["value"]) % modulus
            case Op.INDEX:
                source = token if operands["source"] is Source.TOKEN else position
                counted = source >> operands["right"]
                if operands["bits"]:
                    counted %= 1 << operands["bits"]
                product = counted * operands["times"]
                registers[operands["register"]] = (operands["value"] + product) % modulus
            case Op.PERIOD if config.compact:
                period = operands["value"]
            case Op.PERIOD:
                period = max(operands["least"], operands["value"] + blocks(config, position) * operands["times"])
            case Op.LOOP:
                counter = operands.get("counter", 0)
                counters[counter] += 1
                if counters[counter] == operands["count"]:
                    counters[counter] = 0
                else:
                    pc = operands["target"]
            case Op.TOKEN:
                token, position, count = choose(), position + 1, count - 1
                if count:
                    pc = operands["target"]
    raise ProgramError(f"{pc}: still running after {ISSUE_LIMIT} instructions")


def run_cycles(halt: Issue) -> int:
    """Cycles of a run, as the tile counts them, from its HALT."""
    return halt.cycle + Sequencer.HALT_CYCLES


def mxm_interval(config: Config, operands: dict) -> int:
    """Cycles from one result of an MXM to the next: those it takes, or those that the VXM needs for one."""
    return operands["inner"] if operands["fetch"] else max(operands["inner"], config.beats_per_result)


def beats(issue: Issue, interval: int) -> np.ndarray:
    """Cycles of the beats of a slice's instruction, from its first beat on: int64 [outer, middle, inner]."""
    operands = issue.operands
    turns = np.arange(operands["middle"])[:, None] * interval
    period = issue.period if operands["paced"] else operands["middle"] * interval
    return np.arange(operands["outer"])[:, None, None] * period + turns + np.arange(operands["inner"])


def mxm_addresses(config: Config, operands: dict) -> tuple[np.ndarray, np.ndarray]:
    """Activation and W-RAM words of an MXM, both of shape [outer, middle, inner]; they wrap as the hardware's do."""
    outer, middle = np.arange(operands["outer"])[:, None, None], np.arange(operands["middle"])[:, None]
    inner = np.arange(operands["inner"])
    act = operands["act"] + outer * operands["act_hop"] + 0 * middle + (inner >> operands.get("wide", 0))
    wgt = operands["wgt"] + outer % operands["wrap"] * operands["wgt_hop"] + middle * operands["wgt_step"] + inner
    return act % (1 << address_bits(config.mem_depth)), wgt % (1 << address_bits(config.wram_depth))


@dataclass(frozen=True)
class Granules:
    """What the beats of a VXM address, by beat: arrays of shape [outer, beats of a round].

    `x` and `y` are None where the beats do not read there; `dst`, `number` (of the granule in its round) and `complete`
    (beats that have a value) are there always; `scalar` and `into` are [outer].
    """

    x: np.ndarray | None
    y: np.ndarray | None
    dst: np.ndarray
    number: np.ndarray
    complete: np.ndarray
    scalar: np.ndarray
    into: np.ndarray

    def round(self, index: int) -> "Granules":
        """The same of one round."""
        return Granules(**{name: value[index:index + 1] if name not in ("number", "complete") and value is not None else value
                           for name, value in vars(self).items()})


def vxm_granules(config: Config, operands: dict) -> Granules:
    """Addresses of a VXM's beats; they wrap as the hardware's do."""
    outer, beat = np.arange(operands["outer"])[:, None], np.arange(operands["middle"] * operands["inner"])
    number = beat >> operands["pair"]
    second = (beat & 1) * operands["pair"]
    command = isa_of(config).command(Op.VXM)
    stream, by_vector, plus = (operands[name] for name in ("stream", "by_vector", "plus"))

    def granules(name, steps):
        return (operands[name] + outer * operands[f"{name}_hop"] + steps) % (1 << command[name].width)

    x = granules("x", number * operands["x_step"])
    if config.lanes == 1:
        x ^= second
    return Granules(
        x=x if not stream or plus else None,
        y=granules("y", beat * operands["y_step"]) if by_vector or (plus and not stream) else None,
        dst=granules("dst", number), number=number % (1 << isa_of(config).number_bits),
        complete=(second == 1) | (operands["pair"] == 0),
        scalar=(operands["scalar"] + outer[:, 0] * operands["scalar_hop"]) % (1 << command["scalar"].width),
        into=(operands["into"] + outer[:, 0]) % (1 << command["into"].width),
    )


def cached_word(config: Config, operands: dict, word: np.ndarray) -> np.ndarray:
    """The W-RAM word that a VXM with these operands writes, of a word of the KV cache: of a pair of them the first, or the one
    of the high halves."""
    return word * 2 + operands["high"] if config.weight_bits == 4 else word


def uses(config: Config, issue: Issue) -> list[Use]:
    """Every unit that an issue uses, in which cycles, at which addresses.

    Units: `engine.mxm` (the MXM's repeat engine is taken, pauses included), `mxm` (a beat enters), `mem.act`, `wram` (the
    first column's read), `wram.late` (the last one's), `drain` (a granule comes out), `engine0`, `engine1` (the VXM's engines,
    likewise), `vxm` (a beat), `stream` (a granule is taken), `mem.x`, `mem.y`, `mem.write`, `wram.keys`, `wram.values` (parts
    are written; addresses are words), `wram.read`, `wram.write` (where W-RAM has one port: of any column, whichever words),
    `scalar.vxm`, `scalar.sfu` (reads), `scalar.reduced`, `scalar.computed` (writes), `scalar.bank` (either,
    where they have one bank), `engine.sfu` (from an SFU's first beat to its last result), `sfu` (a beat is at work),
    `chosen.write`, `chosen` (read by TOKEN).
    """
    if issue.op is Op.MXM:
        return _mxm_uses(config, issue)
    if issue.op is Op.VXM:
        return _vxm_uses(config, issue)
    if issue.op is Op.SFU:
        return _sfu_uses(config, issue)
    if issue.op is Op.TOKEN:
        return [Use("chosen", np.array([issue.cycle + Sequencer.token_latency(config)]), np.array([0]))]
    return []


def _mxm_uses(config, issue):
    act, wgt = mxm_addresses(config, issue.operands)
    cycles = issue.cycle + mxm_beat(config) + beats(issue, mxm_interval(config, issue.operands))
    read, skew = Mxm.read_latency(config), Mxm.array(config).skew(config)
    used = [
        Use("engine.mxm", np.arange(issue.cycle + engaged(config, Op.MXM), cycles.max() + 1)),
        Use("mxm", cycles.ravel()),
        Use("wram", cycles.ravel() + read, wgt.ravel()),
        Use("wram.late", cycles.ravel() + read + skew, wgt.ravel()),
    ]
    if config.wram_ports == 1:
        used.append(Use("wram.read", np.unique(cycles.reshape(-1, 1) + read + np.arange(skew + 1))))
    if issue.operands["fetch"]:
        out = cycles.reshape(-1, 1) + Mxm.fetch_latency(config) + np.arange(config.granules_per_word)
    else:
        used.append(Use("mem.act", cycles.ravel(), act.ravel()))
        out = cycles[..., -1].reshape(-1, 1) + Mxm.latency(config) + np.arange(config.beats_per_result)
    return [*used, Use("drain", out.ravel())]


def _vxm_uses(config, issue):
    operands, granules = issue.operands, vxm_granules(config, issue.operands)
    begun = issue.cycle + vxm_beat(config)
    cycles = begun + beats(issue, max(operands["interval"], operands["inner"])).reshape(operands["outer"], -1)
    flat = cycles.ravel()
    engine = np.arange(issue.cycle + engaged(config, Op.VXM), flat[-1] + 1 + Vxm.leaving_cycles(config))
    used = [Use(f"engine{operands.get('engine', 0)}", engine), Use("vxm", flat)]
    if operands["stream"]:
        used.append(Use("stream", flat + Vxm.STREAM_LATENCY))
    for name in ("x", "y"):
        addresses = getattr(granules, name)
        if addresses is not None:
            used.append(Use(f"mem.{name}", flat, addresses.ravel()))
    if not operands["by_vector"] or operands["scalar"]:
        used.append(Use("scalar.vxm", flat, np.repeat(granules.scalar, cycles.shape[1])))
    written = cycles[:, granules.complete].ravel() + Vxm.latency(config)
    dst = granules.dst[:, granules.complete].ravel()
    match operands["to"]:
        case To.MEM:
            used.append(Use("mem.write", written, dst, Vxm.latency(config)))
        case To.KEYS:
            word = cached_word(config, operands, dst // config.granules_per_word)
            used.append(Use("wram.keys", written + Mxm.CACHE_LATENCY, word))
        case To.VALUES:
            word = cached_word(config, operands, dst // config.beats_per_result)
            used.append(Use("wram.values", written + Mxm.CACHE_LATENCY, word))
    delay = Vxm.reduce_latency(config)
    if config.wram_ports == 1 and operands["to"] in (To.KEYS, To.VALUES):
        used.append(Use("wram.write", written + Mxm.CACHE_LATENCY))
    match operands["reduce"]:
        case Reduce.NONE:
            pass
        case Reduce.ARGMAX:
            used.append(Use("chosen.write", cycles[:, -1] + delay, np.zeros(len(cycles), np.int64)))
        case _:
            used += _scalar_write(config, "scalar.reduced", cycles[:, -1] + delay, granules.into, delay)
    return used


def _sfu_uses(config, issue):
    operands, function = issue.operands, issue.operands["function"]
    number, results = np.arange(operands["count"]), 2 if function is Sfu.QUANTISE else 1
    cycles = issue.cycle + sfu_beat(config) + number * issue.period
    latency = Scalars.latency(config, function)
    busy = latency + results
    used = [
        Use("engine.sfu", np.arange(issue.cycle + engaged(config, Op.SFU), cycles[-1] + busy)),
        Use("sfu", (cycles[:, None] + np.arange(busy)).ravel()),
        Use("scalar.sfu", cycles, operands["a"] + number),
    ]
    if function is Sfu.MULTIPLY:
        used.append(Use("scalar.sfu", cycles, operands["b"] + number))
    for result in range(results):
        used += _scalar_write(config, "scalar.computed", cycles + latency + result,
                              operands["into"] + number * results + result, latency + result)
    return used


def _scalar_write(config, unit, cycles, registers, delay):
    """A scalar is written: in a compact tile all registers are one bank."""
    return [Use(unit, cycles, registers, delay), *([Use("scalar.bank", cycles)] if config.compact else [])]
