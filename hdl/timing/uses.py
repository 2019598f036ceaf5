"""The units that an instruction uses, cycle by cycle.

Every number comes from a component's latency.

The compiler schedules by `uses`, the verifier checks by it, and the emulator counts busy cycles
with it.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..mxm import Mxm
from ..scalars import Scalars
from ..sequencer import Sequencer
from ..spec.config import Config
from ..spec.isa import Op, Reduce, Sfu, To
from ..vxm import Vxm
from .beats import beats, cached_word, mxm_addresses, mxm_interval, reads_pairs, vxm_granules, vxm_parts
from .distances import engine_start, mxm_beat, sfu_beat, vxm_beat
from .moves import move_uses
from .unit import VXM_ENGINES, Unit
from .walk import Issue


@dataclass(frozen=True)
class Use:
    """The use of a unit by one issue.

    unit       the unit
    cycles     the cycles of the run in which it is used, int64 [n]
    addresses  the address in each of them, int64 [n], if the unit accesses a memory; else None
    delay      cycles from the beat that causes the use to the use
    span       addresses that are accessed in each cycle, from that one on
    chained    whether it is of the part of a VXM that its `then` makes
    """

    unit: Unit
    cycles: np.ndarray
    addresses: np.ndarray | None = None
    delay: int = 0
    span: int = 1
    chained: bool = False

    def entries(self, config: Config) -> np.ndarray:
        """The entries of its memory that it touches, address by address: int64 [n * `entries_per_cycle`]."""
        count = self.unit.access.entries(config)
        return (self.addresses[:, None] * count + np.arange(count * self.span)).ravel()

    def entries_per_cycle(self, config: Config) -> int:
        """The number of entries that it touches in each cycle."""
        return self.unit.access.entries(config) * self.span


def uses(config: Config, issue: Issue) -> list[Use]:
    """All uses of units by an issue, in no particular order; a unit may occur more than once.

    Only the instructions of the slices and TOKEN use units; the issue itself, `Unit.ISSUE`, is not
    listed.
    """
    if issue.op is Op.MXM:
        return _mxm_uses(config, issue)
    if issue.op is Op.VXM:
        return _vxm_uses(config, issue)
    if issue.op is Op.SFU:
        return _sfu_uses(config, issue)
    if issue.op is Op.MOVE:
        return [Use(unit, cycles, addresses) for unit, cycles, addresses in move_uses(config, issue.cycle, issue.operands)]
    if issue.op is Op.TOKEN:
        read = issue.cycle + Sequencer.token_latency(config)
        return [Use(Unit.CHOICE_READ, np.array([read]), np.array([0]))]
    return []


def _mxm_uses(config, issue):
    act, wgt = mxm_addresses(config, issue.operands)
    cycles = issue.cycle + mxm_beat(config) + beats(issue, mxm_interval(config, issue.operands))
    read, skew = Mxm.read_latency(config), Mxm.array(config).skew(config)
    words = 1 + reads_pairs(config, issue.operands)
    used = [
        Use(Unit.MXM_ENGINE, np.arange(issue.cycle + engine_start(config, Op.MXM), cycles.max() + 1)),
        Use(Unit.MXM_BEAT, cycles.ravel()),
        Use(Unit.WRAM_FIRST_READ, cycles.ravel() + read, wgt.ravel(), span=words),
        Use(Unit.WRAM_LAST_READ, cycles.ravel() + read + skew, wgt.ravel(), span=words),
    ]
    if config.wram_ports == 1:
        used.append(Use(Unit.WRAM_PORT_READ, np.unique(cycles.reshape(-1, 1) + read + np.arange(skew + 1))))
    if issue.operands["fetch"]:
        out = cycles.reshape(-1, 1) + Mxm.fetch_latency(config) + np.arange(config.granules_per_word)
    else:
        used.append(Use(Unit.ACT_READ, cycles.ravel(), act.ravel()))
        out = cycles[..., -1].reshape(-1, 1) + Mxm.latency(config) + np.arange(config.beats_per_result)
    return [*used, Use(Unit.DRAIN, out.ravel())]


def _vxm_uses(config, issue):
    parts = [_part_uses(config, part, number > 0) for number, part in enumerate(vxm_parts(config, issue))]
    flat = np.sort(np.concatenate([cycles for cycles, _ in parts])) if len(parts) > 1 else parts[0][0]
    engine = np.arange(issue.cycle + engine_start(config, Op.VXM), flat[-1] + 1 + Vxm.leaving_cycles(config))
    number = issue.operands.get("engine", 0)
    return [Use(VXM_ENGINES[number], engine), Use(Unit.VXM_BEAT, flat), *(use for _, used in parts for use in used)]


def _part_uses(config, issue, chained):
    """(cycles of the beats, uses) of a VXM without `then`, or of a part of one with it; `chained`: of the part that is."""
    operands, granules = issue.operands, vxm_granules(config, issue.operands)
    first = issue.cycle + vxm_beat(config)
    cycles = first + beats(issue, max(operands["interval"], operands["inner"])).reshape(operands["outer"], -1)
    flat, used = cycles.ravel(), []
    if operands["stream"]:
        used.append(Use(Unit.STREAM, flat + Vxm.STREAM_LATENCY))
    for unit, addresses in ((Unit.X_READ, granules.x), (Unit.Y_READ, granules.y)):
        if addresses is not None:
            used.append(Use(unit, flat, addresses.ravel(), chained=chained))
    if not operands["by_vector"] or granules.scalar.any():
        used.append(Use(Unit.VXM_SCALAR_READ, flat, np.repeat(granules.scalar, cycles.shape[1]), chained=chained))
    written = cycles[:, granules.complete].ravel() + Vxm.latency(config)
    made = _vxm_writes(config, operands, written, granules.dst[:, granules.complete].ravel())
    made += _reductions(config, operands["reduce"], cycles[:, -1], granules.into)
    if chained:
        # The second value of a pair takes two beats more, and reads the first, which a TURN replaces.
        made = [replace(use, delay=use.delay - 2 * operands["pair"], chained=True) for use in made]
    return flat, used + made


def _vxm_writes(config, operands, cycles, dst):
    """The writes of a VXM's values; `cycles`: those in which they leave the VXM."""
    match operands["to"]:
        case To.NOWHERE:
            return []
        case To.MEM:
            return [Use(Unit.MEM_WRITE, cycles, dst, Vxm.latency(config))]
        case To.KEYS:
            unit, word = Unit.KEY_WRITE, dst // config.granules_per_word
        case To.VALUES:
            unit, word = Unit.VALUE_WRITE, dst // config.beats_per_result
    # Both words of a pair are written at once where one beat reads both.
    words = config.wide_words // config.wide_beats
    used = [Use(unit, cycles + Mxm.CACHE_LATENCY, cached_word(config, operands, word), span=words)]
    if config.wram_ports == 1:
        used.append(Use(Unit.WRAM_PORT_WRITE, cycles + Mxm.CACHE_LATENCY))
    if config.memory:
        used.append(Use(Unit.WRAM_CACHED, cycles + Mxm.CACHE_LATENCY))
    return used


def _reductions(config, reduce, last_beats, into):
    """The scalars that the rounds of a VXM leave; `last_beats`: the cycle of each round's last
    beat.
    """
    delay = Vxm.reduce_latency(config)
    match reduce:
        case Reduce.NONE:
            return []
        case Reduce.ARGMAX:
            return [Use(Unit.CHOICE_WRITE, last_beats + delay, np.zeros(len(last_beats), np.int64))]
        case _:
            return _scalar_write(config, Unit.REDUCTION_WRITE, last_beats + delay, into, delay)


def _sfu_uses(config, issue):
    operands, function = issue.operands, issue.operands["function"]
    number, results = np.arange(operands["count"]), 2 if function is Sfu.QUANTISE else 1
    cycles = issue.cycle + sfu_beat(config) + number * issue.period
    latency = Scalars.latency(config, function)
    busy = latency + results
    used = [
        Use(Unit.SFU_ENGINE, np.arange(issue.cycle + engine_start(config, Op.SFU), cycles[-1] + busy)),
        Use(Unit.SFU_BEAT, (cycles[:, None] + np.arange(busy)).ravel()),
        Use(Unit.SFU_SCALAR_READ, cycles, operands["a"] + number),
    ]
    if function is Sfu.MULTIPLY:
        used.append(Use(Unit.SFU_SCALAR_READ, cycles, operands["b"] + number))
    for result in range(results):
        used += _scalar_write(config, Unit.SFU_SCALAR_WRITE, cycles + latency + result,
                              operands["into"] + number * results + result, latency + result)
    return used


def _scalar_write(config, unit, cycles, registers, delay):
    """The write of a scalar, and of the bank where all registers are one."""
    bank = [Use(Unit.SCALAR_BANK, cycles)] if config.profile.scalar_banks == 1 else []
    return [Use(unit, cycles, registers, delay), *bank]
