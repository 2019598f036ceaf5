"""MXM, the matrix unit: weight-resident and systolic."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .column import ACCUMULATOR_BITS, Column, wave_layout
from .config import Config, address_bits
from .drain import Drain
from .host import EntryWriter, HostBus
from .isa import Isa, Op
from .mem import Mem
from .protocol import Space
from .sequencer import command_layout


class Beats(wiring.Component):
    """The MXM's repeat engine: turns one command into outer x inner beats, one a cycle.

    Latency: the first beat is `LATENCY` cycles after `command.valid`. A command may come as early as in
    the cycle of the last beat of the one before it; earlier is an `overrun`.

    Members: `command`; `active`, `act`, `wgt`, `first`, `last`: the beat; `overrun`.
    """

    LATENCY = 1

    def __init__(self, config: Config):
        isa = Isa(config)
        self._command = isa.command(Op.MXM)
        super().__init__({
            "command": In(command_layout(isa, Op.MXM)),
            "active": Out(1),
            "act": Out(self._command["act"].shape),
            "wgt": Out(self._command["wgt"].shape),
            "first": Out(1),
            "last": Out(1),
            "overrun": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        now = Signal(self._command, reset_less=True)
        inner, outer = Signal.like(now.inner), Signal.like(now.outer)
        final = Signal()
        m.d.comb += [
            self.last.eq(self.active & (inner == 1)),
            final.eq(self.last & (outer == 1)),
            self.overrun.eq(self.command.valid & self.active & ~final),
        ]
        # `now.act` and `now.wgt` keep the start of the row of beats that is going on.
        with m.If(self.last):
            m.d.sync += [
                inner.eq(now.inner), outer.eq(outer - 1), self.first.eq(1),
                now.act.eq(now.act + now.act_step), self.act.eq(now.act + now.act_step),
                now.wgt.eq(now.wgt + now.wgt_step), self.wgt.eq(now.wgt + now.wgt_step),
            ]
        with m.Else():
            m.d.sync += [inner.eq(inner - 1), self.first.eq(0), self.act.eq(self.act + 1), self.wgt.eq(self.wgt + 1)]
        with m.If(final):
            m.d.sync += self.active.eq(0)
        with m.If(self.command.valid):
            start = self.command.operands
            m.d.sync += [
                self.active.eq(1), self.first.eq(1), now.eq(start),
                self.act.eq(start.act), self.wgt.eq(start.wgt), inner.eq(start.inner), outer.eq(start.outer),
            ]
        return m


class Mxm(wiring.Component):
    """rows x cols multiply-accumulates a cycle, on a matrix-vector product too.

    ::

        command --> beats --act--> MEM --word--+
                      |                        v
                      +--wgt, first, last--> column 0 --> column 1 --> ... one column a cycle
                                               |            |
                                               +--> drain <-+ --> granules of `lanes` results

    Each column has its own W-RAM, so each multiplier meets a new weight every cycle, and there
    is no phase in which weights are loaded into the array.

    Latency: a result whose last beat is in cycle c leaves as granules in the cycles from c + `latency(config)`
    on, one a cycle. Throughput: a beat a cycle, results `inner` cycles apart.

    Members: `command`; `act_address`, `act`: MEM's read port; `granule`, `valid`: results, no flow control;
    `host`: writes W-RAM, at any time; `overrun`, `collision`: the schedule broke a promise.
    """

    @staticmethod
    def latency(config: Config) -> int:
        """Cycles from the last beat of a result to its first granule."""
        return Mem.LATENCY + Column.LATENCY + Drain.latency(config)

    def __init__(self, config: Config):
        self._config = config
        word = address_bits(config.mem_depth)
        super().__init__({
            "command": In(command_layout(Isa(config), Op.MXM)),
            "act_address": Out(word),
            "act": In(data.ArrayLayout(signed(8), config.rows)),
            "granule": Out(data.ArrayLayout(signed(ACCUMULATOR_BITS), config.lanes)),
            "valid": Out(1),
            "overrun": Out(1),
            "collision": Out(1),
            "host": In(HostBus),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.submodules.beats = beats = Beats(config)
        m.submodules.drain = drain = Drain(config)
        m.submodules.writer = writer = EntryWriter(Space.WRAM, config.rows * config.weight_bits)
        wiring.connect(m, wiring.flipped(self.host), writer.host)

        # The beat waits for MEM's answer.
        wave = Signal(wave_layout(config))
        m.d.sync += [
            wave.wgt.eq(beats.wgt),
            wave.first.eq(beats.first & beats.active),
            wave.last.eq(beats.last),
        ]
        m.d.comb += [
            beats.command.eq(self.command),
            self.act_address.eq(beats.act),
            self.overrun.eq(beats.overrun),
        ]
        entering = Signal(wave_layout(config))
        m.d.comb += [entering.eq(wave), entering.act.eq(self.act)]

        select = address_bits(config.cols)
        for index in range(config.cols):
            m.submodules[f"column{index}"] = column = Column(config)
            m.d.comb += [
                column.wave_in.eq(entering),
                column.write_enable.eq(writer.enable & (writer.entry[:select] == index)),
                column.write_address.eq(writer.entry[select:]),
                column.write_data.eq(writer.data),
                drain.sums[index].eq(column.sum),
                drain.done[index].eq(column.done),
            ]
            entering = column.wave_out
        m.d.comb += [
            self.granule.eq(drain.granule),
            self.valid.eq(drain.valid),
            self.collision.eq(drain.collision),
        ]
        return m
