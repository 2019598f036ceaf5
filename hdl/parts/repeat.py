"""The repeat engine: counts the beats of an instruction."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

COUNTS = ("inner", "middle", "outer", "interval", "period")


class Repeat(wiring.Component):
    """Counts beats: `outer` rounds of `middle` turns of `inner` beats, a beat a cycle.

    Turns begin `interval` cycles apart, or `inner` if that is more. So do rounds; if `paced`, they
    begin `period` cycles apart instead. The schedule must make a period at least as long as the
    round in it. Counters begin at 1 and are compared with the counts, so that no counter is loaded.

    Latency: the first beat is `LATENCY` cycle after `start`. Counts may be loaded with `start` or
    before it, but no earlier than in the cycle of the last beat of the instruction before: that is
    an `overrun`.
    Throughput: a beat a cycle.
    Cost: about 10 n LUTs for counts of n bits.

    Parameters: `bits`, the width of each count; `numbered`, whether it says which beat of a turn there is; `apart`, whether
    a new turn is decided apart from `turn` and `round`, in fewer steps and some ten LUTs more: in a full iCE40 it is the
    longest path.

    Members (no flow control):
        `inner`, `middle`, `outer`, `interval`, `period : In(bits)`, `paced : In(1)`: the counts
        `load : In`: a bit for each count, by name: the count is valid in this cycle and is kept
        `start : In(1)`: the beats begin
        `active : Out(1)`: there is a beat in this cycle
        `first : Out(1)`, `last : Out(1)`: it begins or ends a turn
        `number : Out(bits)`: of the beat in its turn, from 1 on; only if it is `numbered`
        `ends : Out(1)`: it ends a round
        `turn : Out(1)`: a turn begins in the next cycle
        `round : Out(1)`: a round, with its first turn, begins in the next cycle
        `overrun : Out(1)`: fault, counts were loaded too early
    """

    LATENCY = 1

    def __init__(self, bits: int, numbered: bool = False, apart: bool = False):
        self._bits, self._numbered, self._apart = bits, numbered, apart
        super().__init__({name: In(bits) for name in COUNTS} | {
            "load": In(data.StructLayout(dict.fromkeys((*COUNTS, "paced"), 1))), "start": In(1), "paced": In(1),
            "active": Out(1), "first": Out(1), "last": Out(1), "ends": Out(1), "turn": Out(1), "round": Out(1),
            "overrun": Out(1),
        } | ({"number": Out(bits)} if numbered else {}))

    def elaborate(self, platform):
        m = Module()
        kept = {name: Signal(self._bits, name=f"kept_{name}", reset_less=True) for name in COUNTS}
        inner, middle, outer, of_turn, of_round = (Signal(self._bits, name=name, init=1)
                                                   for name in ("inner", "middle", "outer", "of_turn", "of_round"))
        busy, paced, begun, done, passed, due = (
            Signal(name=name) for name in ("busy", "paced", "begun", "done", "passed", "due"))
        last_turn, last_round, begins = Signal(), Signal(), Signal()
        m.d.comb += [
            last_turn.eq(middle == kept["middle"]), last_round.eq(outer == kept["outer"]),
            self.first.eq(self.active & begun),
            self.last.eq(self.active & (inner == kept["inner"])),
            self.ends.eq(self.last & last_turn),
            done.eq(self.ends & last_round),
            # If the interval is over before the beats are, the next turn begins after the last beat.
            due.eq(busy & (passed | (of_turn == kept["interval"])) & (self.last | ~self.active)),
            self.turn.eq(~last_turn & due),
            self.round.eq(last_turn & ~last_round & Mux(paced, busy & (of_round == kept["period"]), due)),
            self.overrun.eq(self.load.as_value().any() & busy & ~done),
            begins.eq(self.start | self.turn | self.round if not self._apart else
                      self.start | (due & ~(last_turn & (last_round | paced)))
                      | (busy & last_turn & ~last_round & paced & (of_round == kept["period"]))),
        ]
        if self._numbered:
            m.d.comb += self.number.eq(inner)
        m.d.sync += [
            begun.eq(begins),
            inner.eq(Mux(begins, 1, inner + 1)), of_turn.eq(Mux(begins, 1, of_turn + 1)),
            passed.eq(~begins & (passed | (of_turn == kept["interval"]))),
            of_round.eq(Mux(self.start | self.round, 1, of_round + 1)),
        ]
        if self._apart:
            m.d.sync += self.active.eq(begins | (self.active & ~self.last))
        else:
            with m.If(begins):
                m.d.sync += self.active.eq(1)
            with m.Elif(self.last):
                m.d.sync += self.active.eq(0)
        with m.If(self.start | self.round):
            m.d.sync += middle.eq(1)
        with m.Elif(self.turn):
            m.d.sync += middle.eq(middle + 1)
        for name, value in (kept | {"paced": paced}).items():
            with m.If(self.load[name]):
                m.d.sync += value.eq(getattr(self, name))
        with m.If(self.start):
            m.d.sync += [outer.eq(1), busy.eq(1)]
        with m.Else():
            m.d.sync += [outer.eq(outer + self.round), busy.eq(busy & ~done)]
        return m
