"""Where the values of a VXM instruction go."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..spec.command import arrives, command_layout
from ..spec.config import Config
from ..spec.isa import Op
from .beat import Step, beat_layout


class Results(wiring.Component):
    """Counts where the values of a VXM instruction go: address, number, scalar register.

    Latency: in the cycle after `command.valid` all outputs are those of the first value, and in the
    cycle after each step those of the next.
    Throughput: a value a cycle.
    Cost: two adders of the width of an address, and small counters.

    Parameters: `config`.

    Members:
        `command : In(command_layout(config, Op.VXM))`: the instruction
        `counted : In(Step)`: a value steps `number`
        `written : In(Step)`: a value steps `dst` and `first`
        `again : In(1)`: with `written`, of a tile that is chained: the value is one of four that are written once more, or
            read to be reduced, so that after the fourth `dst` is that of the first
        `reduced : In(1)`: for one cycle, a round was reduced: `into` becomes the next round's
        `dst : Out`: the address that the value is written to
        `into : Out`: the scalar register of the round
        `number : Out`: of the granule in its round
        `first : Out(1)`: it is the first of its round
    """

    def __init__(self, config: Config):
        self._config, beat = config, beat_layout(config)
        super().__init__({
            "command": In(command_layout(config, Op.VXM)), "counted": In(Step), "written": In(Step), "reduced": In(1),
            **{name: Out(beat[name].shape) for name in ("dst", "into", "number", "first")},
        } | ({"again": In(1)} if config.chained else {}))

    def elaborate(self, platform):
        m = Module()
        start, dst, hop = self.command.operands, Signal.like(self.dst), Signal.like(self.dst)
        with m.If(self.counted.step):
            m.d.sync += self.number.eq(Mux(self.counted.ends, 0, self.number + 1))
        following, begins = self.dst + 1, self.written.ends
        if self._config.chained:
            following = Cat(following[:2], self.dst[2:] + (self.dst[:2].all() & ~self.again))
            begins |= self.first & self.again
        with m.If(self.written.step):
            m.d.sync += [self.first.eq(begins), self.dst.eq(Mux(self.written.ends, dst + hop, following))]
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
