"""VXM, the vector unit: what happens to vectors on their way to MEM, from the MXM or from MEM itself."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..mem.mem import Mem
from ..mxm.writer import VxmWrite
from ..parts.repeat import Repeat
from ..scalars.bank import Scalar
from ..spec.command import arrives, command_layout
from ..spec.config import Config, address_bits
from ..spec.isa import POSITION_BITS, SHIFT_BITS, TOKEN_BITS, Op, Reduce, To, functions, isa_of
from .lane import TOTAL_BITS, Lane
from .reduce import Reducer


def beat_layout(config: Config) -> data.StructLayout:
    """What an engine says about a beat: its addresses, and what the stages of the pipeline do with it.

    `second`: of a pair; `complete`: this beat's value is written and reduced (the first of a pair's is not);
    `first`, `ends`: of the round; `number`: of the granule in its round; `high`: see `VxmWrite`.
    """
    command = isa_of(config).command(Op.VXM)
    granule, scalar = address_bits(config.granules), address_bits(config.scalars)
    return data.StructLayout({
        "active": 1, "x": granule, "y": granule, "dst": command["dst"].shape, "scalar": scalar, "into": scalar,
        "stream": 1, "by_vector": 1, "plus": 1, "bare": 1, "function": functions(config),
        "shift": signed(SHIFT_BITS), "narrow": 1, "to": To,
        "mask": 1, "reduce": Reduce, "second": 1, "complete": 1, "first": 1, "ends": 1, "number": isa_of(config).number_bits,
    } | ({"high": 1} if config.weight_bits == 4 else {}))


HELD = ("stream", "by_vector", "plus", "bare", "function", "shift", "narrow", "to", "mask", "reduce", "high")
"""What is the same for all beats of an instruction. In a compact tile an instruction has left the VXM before the next comes
in, so this need not travel with them."""

Step = data.StructLayout({"step": 1, "ends": 1})
"""A value passes by, and whether it ends its round."""


class Results(wiring.Component):
    """Where the values of an instruction go: their address, their number in the round, the round's scalar.

    Latency: all are those of the first value from the cycle after `command.valid` on, and those of the next after each step.

    Members: `command`; `counted`, `written`: steps of `number`, and of `dst` and `first`; `reduced`, for one cycle: `into` is
    the next round's; `dst`, `into`, `number`, `first`.
    """

    def __init__(self, config: Config):
        self._config, beat = config, beat_layout(config)
        super().__init__({
            "command": In(command_layout(config, Op.VXM)), "counted": In(Step), "written": In(Step), "reduced": In(1),
            **{name: Out(beat[name].shape) for name in ("dst", "into", "number", "first")},
        })

    def elaborate(self, platform):
        m = Module()
        start, dst, hop = self.command.operands, Signal.like(self.dst), Signal.like(self.dst)
        with m.If(self.counted.step):
            m.d.sync += self.number.eq(Mux(self.counted.ends, 0, self.number + 1))
        with m.If(self.written.step):
            m.d.sync += [self.first.eq(self.written.ends), self.dst.eq(Mux(self.written.ends, dst + hop, self.dst + 1))]
            with m.If(self.written.ends):
                m.d.sync += dst.eq(dst + hop)
        with m.If(self.reduced):
            m.d.sync += self.into.eq(self.into + 1)
        with m.If(self.command.valid):
            m.d.sync += [self.number.eq(0), self.first.eq(1)]
        for operand, parts in {"dst": (dst, self.dst), "dst_hop": (hop,), "into": (self.into,)}.items():
            with m.If(arrives(self._config, Op.VXM, self.command, operand)):
                m.d.sync += [part.eq(start[operand]) for part in parts]
        return m


class Engine(wiring.Component):
    """Turns one command into beats, one a cycle, with their addresses.

    Latency: the first beat is `LATENCY` cycles after `command.valid`. `Repeat` says when a command may come.

    Members: `command`; `beat`; `overrun`.
    """

    LATENCY = Repeat.LATENCY

    def __init__(self, config: Config):
        self._config, self._isa = config, isa_of(config)
        super().__init__({
            "command": In(command_layout(config, Op.VXM)), "beat": Out(beat_layout(config)), "overrun": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        start, beat = self.command.operands, self.beat
        now = Signal(start.shape(), reset_less=True)
        m.submodules.repeat = repeat = Repeat(self._isa.count_bits)
        for name in ("inner", "middle", "outer", "interval", "paced"):
            m.d.comb += [getattr(repeat, name).eq(start[name]),
                         repeat.load[name].eq(arrives(self._config, Op.VXM, self.command, name))]
        addresses = {name: Signal(start[name].shape(), name=f"{name}_now", reset_less=True) for name in ("x", "y")}
        second, complete = Signal(), Signal()
        # With one lane a value's neighbour is the next granule.
        swapped = now.pair & second if self._config.lanes == 1 else 0
        m.d.comb += [
            repeat.period.eq(start.period), repeat.load.period.eq(self.command.valid), repeat.start.eq(self.command.valid),
            self.overrun.eq(repeat.overrun), complete.eq(~now.pair | second),
            *(beat[name].eq(now[name]) for name in HELD if name in beat.shape().members),
            beat.active.eq(repeat.active), beat.x.eq(addresses["x"] ^ swapped), beat.y.eq(addresses["y"]),
            beat.scalar.eq(now.scalar), beat.second.eq(second), beat.complete.eq(complete), beat.ends.eq(repeat.ends),
        ]
        if not self._config.compact:
            m.submodules.results = results = Results(self._config)
            step = Cat(repeat.active & complete, repeat.ends)
            m.d.comb += [
                results.command.eq(self.command), results.counted.eq(step), results.written.eq(step),
                results.reduced.eq(repeat.ends), beat.dst.eq(results.dst), beat.into.eq(results.into),
                beat.number.eq(results.number), beat.first.eq(results.first),
            ]
        with m.If(repeat.active):
            m.d.sync += [
                second.eq(now.pair & ~second), addresses["y"].eq(addresses["y"] + now.y_step),
                addresses["x"].eq(addresses["x"] + (now.x_step & complete)),
            ]
        with m.If(repeat.round):
            m.d.sync += now.scalar.eq(now.scalar + now.scalar_hop)
            for name, address in addresses.items():
                m.d.sync += [address.eq(now[name] + now[f"{name}_hop"]), now[name].eq(now[name] + now[f"{name}_hop"])]
        with m.If(self.command.valid):
            m.d.sync += second.eq(0)
        for name, _ in self._isa.operands[Op.VXM]:
            with m.If(arrives(self._config, Op.VXM, self.command, name)):
                m.d.sync += [part[name].eq(start[name]) for part in ((now, addresses) if name in addresses else (now,))]
        return m


class Vxm(wiring.Component):
    """y = saturate((a * b) >> shift + c) on `lanes` values a cycle, with functions, reductions and scalars.

    ::

        commands --> engines ----x, y--> MEM ------+----------+
                           |---scalar--> registers |          v
        MXM granule -------|-----------------------+---> lanes -------------+--> MEM, KEYS, VALUES
                           +--dst, ... delayed alike ----------------------->+--> reduce --> registers

    Two engines take instructions, and share the pipeline: no two of their beats may meet. A compact tile has one, and an
    instruction has left the VXM `leaving_cycles(config)` after its last beat: before the next is `entering_cycles(config)`
    from its first.

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

    @staticmethod
    def entering_cycles(config: Config) -> int:
        """Cycles before an instruction's first beat for which it has its engine: those in which the rows come with what an
        instruction needs until it has left the VXM."""
        return 2 if config.compact else 0

    @staticmethod
    def leaving_cycles(config: Config) -> int:
        """Cycles after an instruction's last beat for which it keeps its engine: in a compact tile it leaves the VXM first."""
        return Vxm.reduce_latency(config) if config.compact else 0

    @staticmethod
    def ending_cycles(config: Config) -> int:
        """Cycles from an instruction's last beat to the last in which it writes or has its engine: no run ends before."""
        return max(Vxm.latency(config), Vxm.leaving_cycles(config))

    def __init__(self, config: Config):
        self._config = config
        granule, scalar = address_bits(config.granules), address_bits(config.scalars)
        vector = data.ArrayLayout(signed(16), config.lanes)
        super().__init__({
            "command": In(command_layout(config, Op.VXM)),
            "position": In(POSITION_BITS), "token": In(TOKEN_BITS),
            "granule": In(data.ArrayLayout(signed(config.accumulator_bits), config.lanes)), "valid": In(1),
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
            for name in layout.members:
                held = config.compact and name in HELD
                m.d["comb" if held else "sync"] += stages[-1][name].eq(stages[0 if held else -2][name])
        beat, operands, last, done = stages[0], stages[1], stages[latency - 1], stages[latency]

        number, dst, first, numbered, into = last.number, done.dst, done.first, done.number, stages[reduce_latency].into
        if config.compact:
            m.submodules.results = results = Results(config)
            m.d.comb += [
                results.command.eq(self.command), results.counted.eq(Cat(last.active & last.complete, last.ends)),
                results.written.eq(Cat(done.active & done.complete, done.ends)), results.reduced.eq(self.reduced),
            ]
            number, dst, first, into = results.number, results.dst, results.first, results.into
            numbered = Signal.like(number, reset_less=True)
            m.d.sync += numbered.eq(number)

        # Stage 1: what MEM, the registers and the MXM have for the beat.
        shift, busy = Signal(signed(10)), Signal()
        if config.compact:
            m.d.comb += busy.eq(Cat(stage.active for stage in stages[:reduce_latency]).any())
        total = Signal(TOTAL_BITS)
        m.d.comb += [
            self.active.eq(beat.active),
            self.x_address.eq(beat.x), self.y_address.eq(beat.y), self.scalar_address.eq(beat.scalar),
            self.overrun.eq(Cat(engine.overrun for engine in engines).any()
                            | (busy & arrives(config, Op.VXM, self.command, "dst"))),
            self.meeting.eq(engines[0].beat.active & engines[1].beat.active if config.engines > 1 else 0),
            self.starved.eq(operands.active & operands.stream & ~self.valid),
            self.dropped.eq(~(operands.active & operands.stream) & self.valid),
            shift.eq(operands.shift + Mux(operands.bare, 0, self.scalar.exponent)),
            total.eq(Mux(shift < 0, 0, Mux(shift > 47, 47, shift))),
        ]
        lanes = config.lanes
        keep, kept = Signal(lanes), Signal(lanes)
        for lane in range(lanes):
            index = (number << (lanes - 1).bit_length()) + lane
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
            self.write.address.eq(dst),
            reducer.values.eq(self.write.values), reducer.keep.eq(kept), reducer.kind.eq(done.reduce),
            reducer.active.eq(done.active & done.complete & (done.reduce != Reduce.NONE)),
            reducer.first.eq(first), reducer.ends.eq(done.ends), reducer.number.eq(numbered),
            reducer.lane.eq(self.token & lanes - 1),
            self.reduced.eq(reducer.done), self.reduced_into.eq(into),
            self.reduced_value.eq(reducer.result), self.chosen.eq(reducer.chosen),
        ]
        if "high" in layout.members:
            m.d.comb += self.write.high.eq(done.high)
        with m.If(done.active & done.complete):
            m.d.comb += self.write.to.eq(done.to)
        return m
