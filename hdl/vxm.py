"""VXM, the vector unit: what happens to the MXM's results on their way to MEM."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .column import ACCUMULATOR_BITS
from .config import Config, address_bits
from .isa import SHIFT_BITS, Isa, Op
from .mem import Mem
from .sequencer import command_layout


class Vxm(wiring.Component):
    """Scales, rounds and saturates results, `lanes` at a time, without a stop.

    ::

        command --> repeat --scale--> MEM --factors--+
                      |                              v
        MXM granule --|--------> [reg] --> x 16 bits --> [reg] --> + --> [reg]
                      |              +-- shift --> [reg] --> round --> [reg] --> saturate --> [reg] --> MEM
                      +--dst---> delayed alike ----------------------------------------------------> write

    Latency: the first beat is `COMMAND_LATENCY` cycles after `command.valid`. The beat of cycle c takes the
    granule that the MXM puts out in cycle c + `STREAM_LATENCY`, and MEM is written in cycle c + `LATENCY`.
    Throughput: a granule a cycle. Costs two 16 x 16 multipliers a lane.

    The value written is saturate((x * factor + 2**(shift - 1)) >> shift), as `marey.hdl.integer` has it.

    Members: `command`; `granule`, `valid`: the MXM's stream; `scale_address`, `scale`: MEM's read port;
    `write_enable`, `write_address`, `write_data`: MEM's write port; `overrun`: a command came too early;
    `starved`: a beat found no granule; `dropped`: a granule found no beat.
    """

    COMMAND_LATENCY = 1
    STREAM_LATENCY = Mem.LATENCY
    LATENCY = STREAM_LATENCY + 6

    def __init__(self, config: Config):
        self._config = config
        isa = Isa(config)
        self._command = isa.command(Op.VXM)
        granule = address_bits(config.granules)
        vector = data.ArrayLayout(signed(16), config.lanes)
        super().__init__({
            "command": In(command_layout(isa, Op.VXM)),
            "granule": In(data.ArrayLayout(signed(ACCUMULATOR_BITS), config.lanes)),
            "valid": In(1),
            "scale_address": Out(granule),
            "scale": In(vector),
            "write_enable": Out(1),
            "write_address": Out(granule),
            "write_data": Out(vector),
            "overrun": Out(1),
            "starved": Out(1),
            "dropped": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.repeat = repeat = Repeat(self._config)
        m.d.comb += [
            repeat.command.eq(self.command),
            self.overrun.eq(repeat.overrun),
            self.scale_address.eq(repeat.scale),
        ]

        # What a beat needs in later stages travels with it: stage n is n cycles after the beat.
        travel = data.StructLayout({"dst": repeat.dst.shape(), "shift": SHIFT_BITS, "narrow": 1})
        beat, beats = Signal(travel), [repeat.active]
        m.d.comb += [beat.dst.eq(repeat.dst), beat.shift.eq(repeat.shift), beat.narrow.eq(repeat.narrow)]
        stages = [beat]
        for stage in range(1, self.LATENCY + 1):
            stages.append(Signal(travel, name=f"stage{stage}", reset_less=True))
            beats.append(Signal(name=f"beat{stage}"))
            m.d.sync += [stages[-1].eq(stages[-2]), beats[-1].eq(beats[-2])]
        m.d.comb += [
            self.starved.eq(beats[self.STREAM_LATENCY] & ~self.valid),
            self.dropped.eq(~beats[self.STREAM_LATENCY] & self.valid),
            self.write_enable.eq(beats[self.LATENCY]),
            self.write_address.eq(stages[self.LATENCY].dst),
        ]
        for lane in range(self._config.lanes):
            m.submodules[f"lane{lane}"] = arithmetic = Lane()
            m.d.comb += [
                arithmetic.x.eq(self.granule[lane]),
                arithmetic.factor.eq(self.scale[lane]),
                arithmetic.shift.eq(stages[self.LATENCY - 3].shift),
                arithmetic.narrow.eq(stages[self.LATENCY - 1].narrow),
                self.write_data[lane].eq(arithmetic.y),
            ]
        return m


class Lane(wiring.Component):
    """One lane's arithmetic: saturate((x * factor + half) >> shift).

    Latency: `y` is `LATENCY` cycles after `x` and `factor`; `shift` is given with `LATENCY` - 3 cycles, `narrow` with
    `LATENCY` - 1 cycles of delay. A value a cycle.
    """

    LATENCY = 6

    def __init__(self):
        super().__init__({
            "x": In(signed(ACCUMULATOR_BITS)),
            "factor": In(signed(16)),
            "shift": In(SHIFT_BITS),
            "narrow": In(1),
            "y": Out(signed(16)),
        })

    def elaborate(self, platform):
        m = Module()
        # Stage 1: operands.
        x, factor = Signal(signed(ACCUMULATOR_BITS), reset_less=True), Signal(signed(16), reset_less=True)
        m.d.sync += [x.eq(self.x), factor.eq(self.factor)]
        # Stage 2: two products that fit a DSP each.
        low, high = Signal(signed(33), reset_less=True), Signal(signed(32), reset_less=True)
        m.d.sync += [low.eq(x[:16] * factor), high.eq(x[16:].as_signed() * factor)]
        # Stage 3: their sum.
        product = Signal(signed(48), reset_less=True)
        m.d.sync += product.eq((high << 16) + low)
        # Stages 4 and 5: shift, rounding half up: one bit too few, add one, drop the bit.
        shifted, rounded = Signal(signed(49), reset_less=True), Signal(signed(49), reset_less=True)
        m.d.sync += [shifted.eq((product << 1) >> self.shift), rounded.eq((shifted + 1) >> 1)]
        # Stage 6: saturate.
        with m.If(self.narrow):
            m.d.sync += self.y.eq(saturate(rounded, 8))
        with m.Else():
            m.d.sync += self.y.eq(saturate(rounded, 16))
        return m


def saturate(value, bits):
    """The nearest `bits`-bit signed number."""
    top = value[bits - 1:]
    limit = Mux(value[-1], -(1 << bits - 1), (1 << bits - 1) - 1)
    return Mux(top.any() & ~top.all(), limit, value[:bits].as_signed())


class Repeat(wiring.Component):
    """The VXM's repeat engine: `count` results, `interval` cycles apart, cols / lanes beats each.

    Latency: the first beat is `LATENCY` cycle after `command.valid`. A command may come as early as in the
    cycle of the last beat of the one before it; earlier is an `overrun`.

    Members: `command`; `active`, `scale`, `dst`, `shift`, `narrow`: the beat; `overrun`.
    """

    LATENCY = 1

    def __init__(self, config: Config):
        self._config = config
        isa = Isa(config)
        self._command = isa.command(Op.VXM)
        super().__init__({
            "command": In(command_layout(isa, Op.VXM)),
            "active": Out(1),
            "scale": Out(self._command["scale"].shape),
            "dst": Out(self._command["dst"].shape),
            "shift": Out(SHIFT_BITS),
            "narrow": Out(1),
            "overrun": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        beats = self._config.beats_per_result
        now = Signal(self._command, reset_less=True)
        busy, last = Signal(), Signal()
        pause = Signal.like(now.interval)
        beat = Signal(range(beats))
        m.d.comb += [
            self.scale.eq(now.scale), self.dst.eq(now.dst), self.shift.eq(now.shift), self.narrow.eq(now.narrow),
            last.eq(self.active & (beat == beats - 1)),
            self.overrun.eq(self.command.valid & busy & ~(last & (now.count == 1))),
        ]
        with m.If(self.active):
            m.d.sync += [now.scale.eq(now.scale + 1), now.dst.eq(now.dst + 1), beat.eq(beat + 1)]
        # `pause` counts the cycles to the next result, this one included.
        m.d.sync += pause.eq(pause - 1)
        with m.If(last):
            m.d.sync += [self.active.eq(0), beat.eq(0), now.count.eq(now.count - 1), busy.eq(now.count != 1)]
        with m.If(busy & (pause == 1) & ~(last & (now.count == 1))):
            m.d.sync += [self.active.eq(1), pause.eq(now.interval)]
        with m.If(self.command.valid):
            m.d.sync += [
                now.eq(self.command.operands), pause.eq(self.command.operands.interval),
                self.active.eq(1), busy.eq(1), beat.eq(0),
            ]
        return m
