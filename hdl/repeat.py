"""The repeat engine: when the beats of an instruction are."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .isa import COUNT_BITS


class Repeat(wiring.Component):
    """Three nested counts: `outer` rounds of `middle` turns of `inner` beats, one beat a cycle.

    Turns begin `interval` cycles apart; rounds as well, or, if `paced`, `period` cycles apart. The schedule keeps
    intervals at least as long as what they hold.

    Latency: the first beat is `LATENCY` cycle after `start`. A command may come as early as in the cycle of the last
    beat of the one before it; earlier is an `overrun`.

    Members: `start`, and the counts with it; `active`: there is a beat in this cycle; `first`, `last`: it begins or ends a
    turn; `ends`: it ends a round; `turn`, `round`: in the next cycle a turn, or a round with its first turn, begins;
    `overrun`.
    """

    LATENCY = 1

    def __init__(self):
        counts = {name: In(COUNT_BITS) for name in ("inner", "middle", "outer", "interval", "period")}
        super().__init__(counts | {
            "start": In(1), "paced": In(1),
            "active": Out(1), "first": Out(1), "last": Out(1), "ends": Out(1), "turn": Out(1), "round": Out(1),
            "overrun": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        kept = {name: Signal(COUNT_BITS, name=f"kept_{name}", reset_less=True)
                for name in ("inner", "middle", "interval", "period")}
        inner, middle, outer, to_turn, to_round = (Signal(COUNT_BITS, name=name, reset_less=True)
                                                   for name in ("inner", "middle", "outer", "to_turn", "to_round"))
        busy, paced, begun, done = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            self.first.eq(self.active & begun),
            self.last.eq(self.active & (inner == 1)),
            self.ends.eq(self.last & (middle == 1)),
            done.eq(self.ends & (outer == 1)),
            self.turn.eq(busy & (middle != 1) & (to_turn == 1)),
            self.round.eq(busy & (middle == 1) & (outer != 1) & (Mux(paced, to_round, to_turn) == 1)),
            self.overrun.eq(self.start & busy & ~done),
        ]
        m.d.sync += [begun.eq(0), inner.eq(inner - 1), to_turn.eq(to_turn - 1), to_round.eq(to_round - 1)]
        with m.If(self.last):
            m.d.sync += self.active.eq(0)
        with m.If(done):
            m.d.sync += busy.eq(0)
        with m.If(self.turn | self.round):
            m.d.sync += [self.active.eq(1), begun.eq(1), inner.eq(kept["inner"]), to_turn.eq(kept["interval"])]
        with m.If(self.turn):
            m.d.sync += middle.eq(middle - 1)
        with m.If(self.round):
            m.d.sync += [middle.eq(kept["middle"]), outer.eq(outer - 1), to_round.eq(kept["period"])]
        with m.If(self.start):
            m.d.sync += [value.eq(getattr(self, name)) for name, value in kept.items()]
            m.d.sync += [
                self.active.eq(1), begun.eq(1), busy.eq(1), paced.eq(self.paced), inner.eq(self.inner),
                middle.eq(self.middle), outer.eq(self.outer), to_turn.eq(self.interval), to_round.eq(self.period),
            ]
        return m
