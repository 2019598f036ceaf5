"""MXM, the matrix unit: weight-resident."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..mem.mem import Mem
from ..parts.host import HostBus
from ..parts.repeat import Repeat
from ..spec.command import arrives, command_layout
from ..spec.config import Config, address_bits
from ..spec.isa import POSITION_BITS, TOKEN_BITS, Op, isa_of
from .broadcast import Broadcast
from .column import wave_layout
from .systolic import Systolic
from .writer import VxmWrite, WramWriter


class Beats(wiring.Component):
    """Turns one command into beats, one a cycle, with their addresses.

    Latency: the first beat is `latency(config)` cycles after `command.valid`. `Repeat` says when a command may come, in rows or
    as a whole.

    Members: `command`; `active`, `act`, `wgt`, `first`, `last`, `fetch`: the beat, and where weights have 4 bits `low`, `high`:
    it is with a half of 8-bit weights; `overrun`.
    """

    @staticmethod
    def latency(config: Config) -> int:
        """Cycles from a command to its first beat. In a compact tile the beats wait for the rows of the VXM which takes their
        results, and of a NOP between them."""
        return Repeat.LATENCY + (6 if config.compact else 0)

    def __init__(self, config: Config):
        isa = isa_of(config)
        self._config = config
        self._delay = self.latency(config) - Repeat.LATENCY
        self._apart, self._halves = config.beats_per_result, config.weight_bits == 4
        self._count_bits = isa.count_bits
        self._command = isa.command(Op.MXM)
        super().__init__({
            "command": In(command_layout(config, Op.MXM)),
            "active": Out(1),
            "act": Out(self._command["act"].shape),
            "wgt": Out(self._command["wgt"].shape),
            "first": Out(1),
            "last": Out(1),
            "fetch": Out(1),
            "overrun": Out(1),
        } | ({"low": Out(1), "high": Out(1)} if self._halves else {}))

    def elaborate(self, platform):
        m = Module()
        start = self.command.operands
        m.submodules.repeat = repeat = Repeat(self._count_bits)
        delayed = Signal(self._delay + 1)
        m.d.comb += delayed[0].eq(self.command.valid)
        m.d.sync += delayed[1:].eq(delayed)

        def with_(operand):
            return m.If(arrives(self._config, Op.MXM, self.command, operand))

        m.d.comb += [
            repeat.start.eq(delayed[self._delay]),
            repeat.inner.eq(start.inner), repeat.middle.eq(start.middle),
            repeat.outer.eq(start.outer), repeat.interval.eq(Mux(start.fetch, 1, self._apart)),
            repeat.period.eq(start.period), repeat.paced.eq(start.paced), repeat.load.period.eq(self.command.valid),
            *(repeat.load[name].eq(arrives(self._config, Op.MXM, self.command, "fetch" if name == "interval" else name))
              for name in ("inner", "middle", "outer", "interval", "paced")),
            self.active.eq(repeat.active), self.first.eq(repeat.first), self.last.eq(repeat.last),
            # What begins too early may meet what has not begun.
            self.overrun.eq(repeat.overrun | (delayed[1:].any() & repeat.load.as_value().any())),
        ]
        # After `wrap` rounds the weights begin again.
        rounds, wrap = Signal.like(start.wrap), Signal.like(start.wrap)
        again = rounds == wrap
        with m.If(repeat.round):
            m.d.sync += rounds.eq(Mux(again, 1, rounds + 1))
        with m.If(self.command.valid):
            m.d.sync += rounds.eq(1)
        # Both halves of a weight meet the same activation.
        stays = C(0)
        if self._halves:
            wide, second = Signal(), Signal()
            with m.If(self.command.valid):
                m.d.sync += second.eq(0)
            with m.Elif(self.active):
                m.d.sync += second.eq(~second)
            with with_("wide"):
                m.d.sync += wide.eq(start.wide)
            stays = wide & ~second
            m.d.comb += [self.low.eq(stays), self.high.eq(wide & second)]
        # Where the turn and the round that are going on began, and the whole.
        act_round, act_hop = Signal.like(self.act), Signal.like(self.act)
        turn, round_, whole, step, hop, next_round = (
            Signal.like(self.wgt, name=f"wgt_{part}") for part in ("turn", "round", "whole", "step", "hop", "next"))
        m.d.comb += next_round.eq(Mux(again, whole, round_ + hop))
        with m.If(repeat.active):
            m.d.sync += [self.act.eq(self.act + Mux(stays, 0, 1)), self.wgt.eq(self.wgt + 1)]
        with m.If(repeat.turn):
            m.d.sync += [self.act.eq(act_round), self.wgt.eq(turn + step), turn.eq(turn + step)]
        with m.If(repeat.round):
            m.d.sync += [self.act.eq(act_round + act_hop), act_round.eq(act_round + act_hop)]
            m.d.sync += [part.eq(next_round) for part in (self.wgt, turn, round_)]
        for operand, parts in {"act": (self.act, act_round), "wgt": (self.wgt, turn, round_, whole), "act_hop": (act_hop,),
                               "wgt_step": (step,), "wgt_hop": (hop,), "wrap": (wrap,), "fetch": (self.fetch,)}.items():
            with with_(operand):
                m.d.sync += [part.eq(start[operand]) for part in parts]
        return m


class Mxm(wiring.Component):
    """rows x cols multiply-accumulates a cycle, on a matrix-vector product too.

    ::

        command --> beats --act--> MEM --word--> array of columns --> granules of `lanes` results
                      |                           ^      ^
                      +--wgt, first, last---------+      |
        VXM --keys, values--> W-RAM's writer ------------+

    Each column has its own W-RAM, so each multiplier meets a new weight every cycle, and there
    is no phase in which weights are loaded into the array.

    Latency: a result whose last beat is in cycle c leaves as granules in the cycles from c + `latency(config)`
    on, one a cycle; a word that is fetched in cycle c in those from c + `fetch_latency(config)` on. Throughput: a beat a
    cycle, results `inner` cycles apart.

    Members: `command`; `position`, `token`; `active`: a beat; `act_address`, `act`: MEM's read port; `granule`, `valid`:
    results, no flow control; `cache`: keys and values from the VXM, in W-RAM `CACHE_LATENCY` cycle later; `host`: writes W-RAM,
    at any time but when it has to `hold`; `overrun`, `collision`: the schedule broke a promise.
    """

    CACHE_LATENCY = 1

    @staticmethod
    def array(config: Config) -> type[Systolic] | type[Broadcast]:
        """Where its columns are."""
        return Broadcast if config.compact else Systolic

    @staticmethod
    def fetch_latency(config: Config) -> int:
        """Cycles from the beat of a fetched word to its first granule."""
        return Mem.LATENCY + Mxm.array(config).fetch_latency(config)

    @staticmethod
    def read_latency(config: Config) -> int:
        """Cycles from a beat to the first read of W-RAM."""
        return Mem.LATENCY - Mxm.array(config).address_lead(config)

    @staticmethod
    def latency(config: Config) -> int:
        """Cycles from the last beat of a result to its first granule."""
        return Mem.LATENCY + Mxm.array(config).latency(config)

    def __init__(self, config: Config):
        self._config = config
        word = address_bits(config.mem_depth)
        super().__init__({
            "command": In(command_layout(config, Op.MXM)),
            "position": In(POSITION_BITS),
            "token": In(TOKEN_BITS),
            "cache": In(VxmWrite(config)),
            "active": Out(1),
            "act_address": Out(word),
            "act": In(data.ArrayLayout(signed(8), config.rows)),
            "granule": Out(data.ArrayLayout(signed(config.accumulator_bits), config.lanes)),
            "valid": Out(1),
            "overrun": Out(1),
            "collision": Out(1),
            "host": In(HostBus),
            "hold": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.submodules.beats = beats = Beats(config)
        m.submodules.writer = writer = WramWriter(config)
        m.submodules.array = array = self.array(config)(config)
        wiring.connect(m, wiring.flipped(self.host), writer.host)
        wiring.connect(m, writer.write, array.write)
        m.d.comb += [
            beats.command.eq(self.command),
            writer.cache.eq(self.cache), writer.position.eq(self.position), self.hold.eq(writer.hold),
            self.act_address.eq(beats.act), self.active.eq(beats.active), self.overrun.eq(beats.overrun),
            self.granule.eq(array.granule), self.valid.eq(array.valid), self.collision.eq(array.collision),
        ]
        # The beat waits for MEM's answer, and so may the address of its weights.
        address, wave = Signal.like(beats.wgt), Signal(wave_layout(config))
        m.d.sync += [
            address.eq(beats.wgt),
            wave.first.eq(beats.first),
            wave.last.eq(beats.last & ~beats.fetch),
            wave.fetch.eq(beats.active & beats.fetch),
            wave.column.eq(self.token),
            *([wave.low.eq(beats.low), wave.high.eq(beats.high)] if config.weight_bits == 4 else []),
        ]
        m.d.comb += [
            array.wave.eq(wave), array.wave.act.eq(self.act),
            array.address.eq(address if self.read_latency(config) else beats.wgt),
        ]
        if config.wram_ports == 1:
            # Whether the weights that a column reads in this cycle are a beat's.
            reading = Signal(self.read_latency(config) + self.array(config).skew(config) + 1)
            m.d.comb += reading[0].eq(beats.active)
            m.d.sync += [
                reading[1:].eq(reading),
                Assert(~(reading[self.read_latency(config):].any() & writer.write.writing),
                       "schedule fault: W-RAM's one port reads and writes"),
            ]
        return m
