"""VXM, the vector unit: computes on vectors on their way from the MXM or MEM to MEM."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..spec.chained import SHIFTS
from ..spec.command import arrives, command_layout
from ..spec.config import Config, address_bits
from ..spec.isa import POSITION_BITS, Function, Op, Reduce, Then, To, functions
from ..spec.ports import MEM_READ_LATENCY, Scalar, VxmWrite
from .beat import HELD, beat_layout
from .engine import Engine
from .lane import MOST_TOTAL, TOTAL_BITS, Lane
from .reduce import Reducer
from .results import Results


class Vxm(wiring.Component):
    """Computes y = saturate((a * b) >> shift + c) on `lanes` values a cycle, and reductions.

    ::

        commands --> engines ----x, y--> MEM ------+----------+
                           |---scalar--> registers |          v
        MXM granule -------|-----------------------+---> lanes ---------+--> MEM, KEYS, VALUES
                           +--dst, ... with the same delay ------------>+--> reduce --> registers

    Two engines take instructions and share the pipeline: no two of their beats may meet. A compact
    tile has one engine, and an instruction has left the VXM `leaving_cycles(config)` after its last
    beat; the next one's first beat is `entering_cycles(config)` later at the earliest. If it is chained, an instruction goes
    on with what it has taken from the MXM, see `marey.hdl.spec.chained`.

    Latency: the first beat is `COMMAND_LATENCY` cycles after `command.valid`. The beat of cycle c
    takes the granule that the MXM puts out in cycle c + `STREAM_LATENCY`, and is written in cycle c
    + `latency(config)`. If it ends a round, the scalar leaves in cycle c +
    `reduce_latency(config)`.
    Throughput: a granule a cycle.
    Cost: `lanes` times a `Lane`, which has two multipliers; a `Reducer`; one or two engines.

    Parameters: `config`.

    Members (no flow control on any):
        `command : In(command_layout(config, Op.VXM))`: the instruction
        `position : In(POSITION_BITS)`, `token : In(config.token_bits)`: of this step
        `granule : In(ArrayLayout(signed(accumulator_bits), lanes))`, `valid : In(1)`: the MXM's
            results
        `x_address : Out`, `x : In`, `y_address : Out`, `y : In`: MEM's read ports
        `scalar_address : Out`, `scalar : In(Scalar)`: the read port of the scalar registers
        `write : Out(VxmWrite(config))`: the values, and where they go
        `reduced : Out(1)`, `reduced_into : Out`, `reduced_value : Out(signed(32))`: a scalar and
            its register
        `chosen : Out(config.token_bits)`: the index that the last ARGMAX found
        `active : Out(1)`: there is a beat in this cycle
        `overrun : Out(1)`: fault, a command came too early
        `meeting : Out(1)`: fault, both engines have a beat
        `starved : Out(1)`: fault, a beat found no granule
        `dropped : Out(1)`: fault, a granule found no beat
    """

    COMMAND_LATENCY = Engine.LATENCY
    STREAM_LATENCY = MEM_READ_LATENCY

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
        """Cycles before an instruction's first beat for which it occupies its engine.

        In a compact tile rows come in these cycles, with operands that the VXM needs until the
        instruction has left it.
        """
        return 2 if config.compact else 0

    @staticmethod
    def leaving_cycles(config: Config) -> int:
        """Cycles after an instruction's last beat for which it occupies its engine.

        In a compact tile an instruction leaves the VXM before the next one enters.
        """
        return Vxm.reduce_latency(config) if config.compact else 0

    @staticmethod
    def ending_cycles(config: Config) -> int:
        """Cycles from an instruction's last beat to its last write, or the last that it occupies.

        No run ends before that.
        """
        return max(Vxm.latency(config), Vxm.leaving_cycles(config))

    def __init__(self, config: Config):
        self._config = config
        granule, scalar = address_bits(config.granules), address_bits(config.scalars)
        vector = data.ArrayLayout(signed(16), config.lanes)
        super().__init__({
            "command": In(command_layout(config, Op.VXM)),
            "position": In(POSITION_BITS), "token": In(config.token_bits),
            "granule": In(data.ArrayLayout(signed(config.accumulator_bits), config.lanes)), "valid": In(1),
            "x_address": Out(granule), "x": In(vector), "y_address": Out(granule), "y": In(vector),
            "scalar_address": Out(scalar), "scalar": In(Scalar),
            "write": Out(VxmWrite(config)),
            "reduced": Out(1), "reduced_into": Out(scalar), "reduced_value": Out(signed(32)), "chosen": Out(config.token_bits),
            "active": Out(1), "overrun": Out(1), "meeting": Out(1), "starved": Out(1), "dropped": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        engines = self._engines(m)
        stages = self._stages(m, engines)
        beat, operands, done = stages[0], stages[1], stages[self.latency(config)]
        again = (done.then != Then.NOTHING) & ~done.chained if config.chained else None
        number, dst, first, numbered, into = self._results(m, stages, again)

        # Stage 1: what MEM, the registers and the MXM have for the beat.
        shift, busy = Signal(signed(10)), Signal()
        if config.compact:
            m.d.comb += busy.eq(Cat(stage.active for stage in stages[:self.reduce_latency(config)]).any())
        total = Signal(TOTAL_BITS)
        stream = operands.stream
        reduced = done.active & done.complete & (done.reduce != Reduce.NONE)
        if config.chained:
            # With `then`, what is taken from the MXM is not reduced, since it comes again.
            stream &= ~operands.chained
            reduced &= ~again
        m.d.comb += [
            self.active.eq(beat.active),
            self.x_address.eq(beat.x), self.y_address.eq(beat.y), self.scalar_address.eq(beat.scalar),
            self.overrun.eq(Cat(engine.overrun for engine in engines).any()
                            | (busy & arrives(config, Op.VXM, self.command, "dst"))),
            self.meeting.eq(engines[0].beat.active & engines[1].beat.active if config.engines > 1 else 0),
            self.starved.eq(operands.active & stream & ~self.valid),
            self.dropped.eq(~(operands.active & stream) & self.valid),
            shift.eq(operands.shift + Mux(operands.bare, 0, self.scalar.exponent)),
            total.eq(Mux(shift < 0, 0, Mux(shift > MOST_TOTAL, MOST_TOTAL, shift))),
        ]
        if config.chained:
            self._shift_chained(m, operands, total)
        kept = self._lanes(m, stages, stream, number, total)
        m.submodules.reducer = reducer = Reducer(config)
        m.d.comb += [
            self.write.address.eq(dst),
            reducer.values.eq(self.write.values), reducer.keep.eq(kept), reducer.kind.eq(done.reduce),
            reducer.active.eq(reduced),
            reducer.first.eq(first), reducer.ends.eq(done.ends), reducer.number.eq(numbered),
            reducer.lane.eq(self.token & config.lanes - 1),
            self.reduced.eq(reducer.done), self.reduced_into.eq(into),
            self.reduced_value.eq(reducer.result), self.chosen.eq(reducer.chosen),
        ]
        if config.memory:
            m.d.comb += reducer.more.eq(done.into[0])
        if config.wide_beats > 1:
            m.d.comb += self.write.high.eq(done.high)
        # A pair of beats has one value. A full tile's register says where values go, because the writers of MEM and W-RAM,
        # and the link that holds a word for them, follow in the same cycle.
        domain, beat = (m.d.comb, done) if config.compact else (m.d.sync, stages[self.latency(config) - 1])
        domain += self.write.to.eq(To.NOWHERE)
        written = beat.active & beat.complete
        if config.chained:
            written &= ~(beat.chained & (beat.then == Then.SQUARES))
        with m.If(written):
            domain += self.write.to.eq(beat.to)
        return m

    def _engines(self, m):
        """The engines, each with the commands that are for it."""
        config, engines = self._config, []
        for index in range(config.engines):
            m.submodules[f"engine{index}"] = engine = Engine(config)
            mine = self.command.operands.engine == index if config.engines > 1 else 1
            m.d.comb += [engine.command.eq(self.command), engine.command.valid.eq(self.command.valid & mine)]
            engines.append(engine)
        return engines

    def _stages(self, m, engines):
        """The beat in the stages of the pipeline: stage n has the beat of n cycles ago."""
        config, layout = self._config, beat_layout(self._config)
        stages = [Signal(layout, name="beat")]
        first, last = engines[0].beat, engines[-1].beat
        m.d.comb += stages[0].eq(Mux(last.active, last, first) if config.engines > 1 else first)
        for stage in range(1, self.reduce_latency(config) + 1):
            stages.append(Signal(layout, name=f"stage{stage}"))
            for name in layout.members:
                held = config.compact and name in HELD
                m.d["comb" if held else "sync"] += stages[-1][name].eq(stages[0 if held else -2][name])
        return stages

    def _results(self, m, stages, again):
        """Where the values go that are made in this cycle: (number, dst, first, numbered, into).

        `number` is the number in its round of the granule before the last stage. `dst`, `first` and
        `numbered` (the same number) belong to the granule that is written, `into` to the round that is
        reduced. `again`: whether the values come again, of a tile that is chained.
        """
        config = self._config
        last, done = stages[self.latency(config) - 1], stages[self.latency(config)]
        if not config.compact:
            return last.number, done.dst, done.first, done.number, stages[self.reduce_latency(config)].into
        # One instruction at a time: its addresses and numbers are counted where its values leave.
        m.submodules.results = results = Results(config)
        m.d.comb += [
            results.command.eq(self.command), results.counted.eq(Cat(last.active & last.complete, last.ends)),
            results.written.eq(Cat(done.active & done.complete, done.ends)), results.reduced.eq(self.reduced),
        ]
        if config.chained:
            m.d.comb += results.again.eq(again)
        numbered = Signal.like(results.number, name="numbered", reset_less=True)
        m.d.sync += numbered.eq(results.number)
        return results.number, results.dst, results.first, numbered, results.into

    @staticmethod
    def _shift_chained(m, operands, total):
        """Gives what is chained the shift of its `then`."""
        with m.If(operands.chained), m.Switch(operands.then):
            for then, bits in SHIFTS.items():
                with m.Case(then):
                    m.d.comb += total.eq(bits)

    def _lanes(self, m, stages, stream, number, total):
        """The lanes, whose values are written. Returns which of these count, a bit a lane.

        `stream`: whether the beat takes what the MXM puts out; `number`: of the granule in its round, before the last
        stage; `total`: the shift plus the scalar's exponent.
        """
        config, lanes = self._config, self._config.lanes
        operands, last = stages[1], stages[self.latency(config) - 1]
        second = stages[1 + Lane.delay(config, Lane.SECOND)]
        keep, kept = Signal(lanes), Signal(lanes)
        function, narrow, plus = operands.function, last.narrow, operands.plus
        if config.chained:
            function = Signal(functions(config))
            m.d.comb += function.eq(operands.function)
            with m.If(operands.chained & (operands.then == Then.SILU)):
                m.d.comb += function.eq(Function.SILU)
            narrow |= last.chained & (last.then == Then.TURN)
            plus &= ~operands.chained
        for lane in range(lanes):
            index = (number << (lanes - 1).bit_length()) + lane
            m.d.comb += keep[lane].eq(~last.mask | (index <= self.position))
            m.submodules[f"lane{lane}"] = arithmetic = Lane(config)
            x = Mux(operands.second, self.x[lane ^ 1], self.x[lane]) if lanes > 1 else self.x[lane]
            m.d.comb += [
                arithmetic.a.eq(Mux(stream, self.granule[lane], x)),
                arithmetic.b.eq(Mux(operands.by_vector, self.y[lane], self.scalar.value)),
                arithmetic.c.eq(Mux(plus, Mux(stream, self.x[lane], self.y[lane]), 0)),
                arithmetic.function.eq(function), arithmetic.shift.eq(total),
                arithmetic.second.eq(second.second), arithmetic.narrow.eq(narrow), arithmetic.keep.eq(keep[lane]),
                self.write.values[lane].eq(arithmetic.y),
            ]
            if config.cache_bits == 4:
                m.d.comb += arithmetic.short.eq(last.narrow & ((last.to == To.KEYS) | (last.to == To.VALUES)))
        m.d.sync += kept.eq(keep)
        return kept
