"""VXM, the vector unit: what happens to vectors on their way to MEM, from the MXM or from MEM itself."""

from functools import reduce
from operator import or_

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .column import ACCUMULATOR_BITS
from .config import Config, address_bits
from .isa import POSITION_BITS, SHIFT_BITS, TOKEN_BITS, Function, Isa, Op, Reduce, To, isa_of
from .lane import TOTAL_BITS, Lane
from .mem import Mem
from .reduce import Reducer
from .repeat import Repeat
from .scalars import Scalar
from .sequencer import command_layout
from .writer import VxmWrite


def beat_layout(config: Config) -> data.StructLayout:
    """What an engine says about a beat: its addresses, and what the stages of the pipeline do with it.

    `second`: of a pair; `complete`: this beat's value is written and reduced (the first of a pair's is not);
    `first`, `ends`: of the round; `number`: of the granule in its round; `high`: see `VxmWrite`.
    """
    command = Isa(config).command(Op.VXM)
    granule, scalar = address_bits(config.granules), address_bits(config.scalars)
    return data.StructLayout({
        "active": 1, "x": granule, "y": granule, "dst": command["dst"].shape, "scalar": scalar, "into": scalar,
        "stream": 1, "by_vector": 1, "plus": 1, "bare": 1, "function": Function, "shift": signed(SHIFT_BITS), "narrow": 1,
        "to": To,
        "mask": 1, "reduce": Reduce, "second": 1, "complete": 1, "first": 1, "ends": 1, "number": isa_of(config).number_bits,
    } | ({"high": 1} if config.weight_bits == 4 else {}))


class Engine(wiring.Component):
    """Turns one command into beats, one a cycle, with their addresses.

    Latency: the first beat is `LATENCY` cycles after `command.valid`. `Repeat` says when a command may come.

    Members: `command`; `beat`; `overrun`.
    """

    LATENCY = Repeat.LATENCY

    def __init__(self, config: Config):
        self._config = config
        super().__init__({
            "command": In(command_layout(Isa(config), Op.VXM)), "beat": Out(beat_layout(config)), "overrun": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        start, beat = self.command.operands, self.beat
        now = Signal(start.shape(), reset_less=True)
        m.submodules.repeat = repeat = Repeat(isa_of(self._config).count_bits)
        for name in ("inner", "middle", "outer", "interval", "period", "paced"):
            m.d.comb += getattr(repeat, name).eq(start[name])
        addresses = {name: Signal(start[name].shape(), name=f"{name}_now", reset_less=True) for name in ("x", "y", "dst")}
        second, first, number = Signal(), Signal(), Signal(isa_of(self._config).number_bits, reset_less=True)
        complete = ~now.pair | second
        # With one lane a value's neighbour is the next granule.
        swapped = now.pair & second if self._config.lanes == 1 else 0
        m.d.comb += [
            repeat.load.eq(self.command.valid), repeat.start.eq(self.command.valid), self.overrun.eq(repeat.overrun),
            *(getattr(beat, name).eq(now[name]) for name in (
                "scalar", "into", "stream", "by_vector", "plus", "bare", "function", "shift", "narrow", "to", "mask",
                "reduce")),
            beat.active.eq(repeat.active), beat.x.eq(addresses["x"] ^ swapped), beat.y.eq(addresses["y"]),
            beat.dst.eq(addresses["dst"]), beat.second.eq(second), beat.complete.eq(complete), beat.first.eq(first),
            beat.ends.eq(repeat.ends), beat.number.eq(number),
        ]
        if "high" in beat.shape().members:
            m.d.comb += beat.high.eq(now.high)
        with m.If(repeat.active):
            m.d.sync += [
                second.eq(now.pair & ~second), addresses["y"].eq(addresses["y"] + now.y_step),
                addresses["x"].eq(addresses["x"] + (now.x_step & complete)),
            ]
            with m.If(complete):
                m.d.sync += [addresses["dst"].eq(addresses["dst"] + 1), number.eq(number + 1), first.eq(0)]
        with m.If(repeat.round):
            m.d.sync += [number.eq(0), first.eq(1), now.scalar.eq(now.scalar + now.scalar_hop), now.into.eq(now.into + 1)]
            for name, address in addresses.items():
                m.d.sync += [address.eq(now[name] + now[f"{name}_hop"]), now[name].eq(now[name] + now[f"{name}_hop"])]
        with m.If(self.command.valid):
            m.d.sync += [now.eq(start), second.eq(0), number.eq(0), first.eq(1)]
            m.d.sync += [address.eq(start[name]) for name, address in addresses.items()]
        return m


class Vxm(wiring.Component):
    """y = saturate((a * b) >> shift + c) on `lanes` values a cycle, with functions, reductions and scalars.

    ::

        commands --> engines ----x, y--> MEM ------+----------+
                           |---scalar--> registers |          v
        MXM granule -------|-----------------------+---> lanes -------------+--> MEM, KEYS, VALUES
                           +--dst, ... delayed alike ----------------------->+--> reduce --> registers

    Two engines, in a compact tile one, take instructions, and share the pipeline: no two of their beats may meet.

    Latency: the first beat is `COMMAND_LATENCY` cycles after `command.valid`. The beat of cycle c takes the
    granule that the MXM puts out in cycle c + `STREAM_LATENCY`, is written in cycle c + `latency(config)`, and a round
    that it ends leaves its scalar in cycle c + `reduce_latency(config)`. Throughput: a granule a cycle.

    Members: `command`; `position`, `token`; `granule`, `valid`: the MXM's stream; `x_address`, `x`, `y_address`, `y`: MEM's
    read ports; `scalar_address`, `scalar`; `write`: what leaves; `reduced`, `reduced_into`, `reduced_value`: a scalar;
    `chosen`: the last ARGMAX; `active`: a beat; `overrun`: a command came too early; `meeting`: two beats in a cycle;
    `starved`: a beat found no granule; `dropped`: a granule found no beat.
    """

    COMMAND_LATENCY = Engine.LATENCY
    STREAM_LATENCY = Mem.LATENCY

    @staticmethod
    def latency(config: Config) -> int:
        """Cycles from a beat to the write of what it makes."""
        return Vxm.STREAM_LATENCY + Lane.latency(config)

    @staticmethod
    def reduce_latency(config: Config) -> int:
        """Cycles from a round's last beat to its scalar."""
        return Vxm.latency(config) + Reducer.latency(config)

    def __init__(self, config: Config):
        self._config = config
        granule, scalar = address_bits(config.granules), address_bits(config.scalars)
        vector = data.ArrayLayout(signed(16), config.lanes)
        super().__init__({
            "command": In(command_layout(Isa(config), Op.VXM)),
            "position": In(POSITION_BITS), "token": In(TOKEN_BITS),
            "granule": In(data.ArrayLayout(signed(ACCUMULATOR_BITS), config.lanes)), "valid": In(1),
            "x_address": Out(granule), "x": In(vector), "y_address": Out(granule), "y": In(vector),
            "scalar_address": Out(scalar), "scalar": In(Scalar),
            "write": Out(VxmWrite(config)),
            "reduced": Out(1), "reduced_into": Out(scalar), "reduced_value": Out(signed(32)), "chosen": Out(TOKEN_BITS),
            "active": Out(1), "overrun": Out(1), "meeting": Out(1), "starved": Out(1), "dropped": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        layout = beat_layout(config)
        engines = []
        for index in range(config.engines):
            m.submodules[f"engine{index}"] = engine = Engine(config)
            mine = self.command.operands.engine == index if config.engines > 1 else 1
            m.d.comb += [engine.command.eq(self.command), engine.command.valid.eq(self.command.valid & mine)]
            engines.append(engine)
        # What a beat needs in later stages travels with it: stages[n] is n cycles after the beat.
        stages = [Signal(layout, name="beat")]
        first, last = engines[0].beat, engines[-1].beat
        m.d.comb += stages[0].eq(Mux(last.active, last, first) if config.engines > 1 else first)
        latency, reduce_latency = self.latency(config), self.reduce_latency(config)
        for stage in range(1, reduce_latency + 1):
            stages.append(Signal(layout, name=f"stage{stage}"))
            m.d.sync += stages[-1].eq(stages[-2])
        beat, operands, last, done = stages[0], stages[1], stages[latency - 1], stages[latency]

        # Stage 1: what MEM, the registers and the MXM have for the beat.
        shift = Signal(signed(10))
        total = Signal(TOTAL_BITS)
        m.d.comb += [
            self.active.eq(beat.active),
            self.x_address.eq(beat.x), self.y_address.eq(beat.y), self.scalar_address.eq(beat.scalar),
            self.overrun.eq(reduce(or_, [engine.overrun for engine in engines])),
            self.meeting.eq(engines[0].beat.active & engines[1].beat.active if config.engines > 1 else 0),
            self.starved.eq(operands.active & operands.stream & ~self.valid),
            self.dropped.eq(~(operands.active & operands.stream) & self.valid),
            shift.eq(operands.shift + Mux(operands.bare, 0, self.scalar.exponent)),
            total.eq(Mux(shift < 0, 0, Mux(shift > 47, 47, shift))),
        ]
        lanes = config.lanes
        keep, kept = Signal(lanes), Signal(lanes)
        for lane in range(lanes):
            index = (last.number << (lanes - 1).bit_length()) + lane
            m.d.comb += keep[lane].eq(~last.mask | (index <= self.position))
            m.submodules[f"lane{lane}"] = arithmetic = Lane(config)
            x = Mux(operands.second, self.x[lane ^ 1], self.x[lane]) if lanes > 1 else self.x[lane]
            m.d.comb += [
                arithmetic.a.eq(Mux(operands.stream, self.granule[lane], x)),
                arithmetic.b.eq(Mux(operands.by_vector, self.y[lane], self.scalar.value)),
                arithmetic.c.eq(Mux(operands.plus, Mux(operands.stream, self.x[lane], self.y[lane]), 0)),
                arithmetic.function.eq(operands.function), arithmetic.shift.eq(total),
                arithmetic.second.eq(stages[1 + Lane.delay(config, Lane.SECOND)].second),
                arithmetic.narrow.eq(last.narrow), arithmetic.keep.eq(keep[lane]),
                self.write.values[lane].eq(arithmetic.y),
            ]
        m.d.sync += kept.eq(keep)
        m.submodules.reducer = reducer = Reducer(config)
        m.d.comb += [
            self.write.address.eq(done.dst),
            reducer.values.eq(self.write.values), reducer.keep.eq(kept), reducer.kind.eq(done.reduce),
            reducer.active.eq(done.active & done.complete & (done.reduce != Reduce.NONE)),
            reducer.first.eq(done.first), reducer.ends.eq(done.ends), reducer.number.eq(done.number),
            reducer.lane.eq(self.token & lanes - 1),
            self.reduced.eq(reducer.done), self.reduced_into.eq(stages[reduce_latency].into),
            self.reduced_value.eq(reducer.result), self.chosen.eq(reducer.chosen),
        ]
        if "high" in layout.members:
            m.d.comb += self.write.high.eq(done.high)
        with m.If(done.active & done.complete):
            m.d.comb += self.write.to.eq(done.to)
        return m
