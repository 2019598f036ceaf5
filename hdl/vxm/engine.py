"""An engine of the VXM: makes the beats of an instruction."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..parts.repeat import Repeat
from ..spec.command import arrives, command_layout
from ..spec.config import Config
from ..spec.isa import Op, isa_of
from .beat import HELD, beat_layout
from .chain import Chain
from .results import Results


class Engine(wiring.Component):
    """Makes the beats of a VXM instruction, one a cycle, with their addresses.

    Latency: the first beat is `LATENCY` cycles after `command.valid`. `Repeat` says when a command
    may come.
    Throughput: a beat a cycle.
    Cost: a `Repeat`, two adders for addresses, and a register for each operand; a `Chain` if the tile is chained.

    Parameters: `config`.

    Members:
        `command : In(command_layout(config, Op.VXM))`: the instruction, no flow control
        `beat : Out(beat_layout(config))`: the beat of this cycle
        `overrun : Out(1)`: a command came before the last one's beats were over
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
        m.submodules.repeat = repeat = Repeat(
            self._isa.count_bits, numbered=bool(self._config.chained), apart=bool(self._config.chained))
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
        steps = {"y": now.y_step, "x": now.x_step & complete}
        if self._config.chained:
            steps = self._chain(m, repeat, now, addresses, second, complete)
        if not self._config.compact:
            m.submodules.results = results = Results(self._config)
            step = Cat(repeat.active & complete, repeat.ends)
            m.d.comb += [
                results.command.eq(self.command), results.counted.eq(step), results.written.eq(step),
                results.reduced.eq(repeat.ends), beat.dst.eq(results.dst), beat.into.eq(results.into),
                beat.number.eq(results.number), beat.first.eq(results.first),
            ]
        with m.If(repeat.active):
            m.d.sync += [second.eq(now.pair & ~second), *(addresses[name].eq(addresses[name] + steps[name]) for name in "yx")]
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

    def _chain(self, m, repeat, now, addresses, second, complete):
        """Makes the beats of an instruction with `then`. Returns the steps of addresses: with `then`, x steps a result
        at the end of a turn, and y only in beats that take the stream."""
        m.submodules.chain = chain = Chain(self._config)
        beat = self.beat
        m.d.comb += [
            chain.then.eq(now.then), chain.number.eq(repeat.number), chain.last.eq(now.x_hop), chain.table.eq(now.y_hop),
            chain.x.eq(addresses["x"]), chain.y.eq(addresses["y"]),
            beat.x.eq(chain.x_address ^ (now.pair & second)), beat.y.eq(chain.y_address),
            beat.active.eq(repeat.active & ~chain.pause),
            beat.chained.eq(chain.chained), beat.second.eq(second | chain.second),
            beat.complete.eq(complete & (~chain.turning | chain.second)),
        ]
        return {"x": Cat(now.x_step & complete & ~chain.on, C(0, 1), chain.on & repeat.last),
                "y": now.y_step & ~chain.chained & ~chain.pause}
