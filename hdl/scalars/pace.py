"""The pace of the scalar unit: counts the beats of an SFU instruction."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class Pace(wiring.Component):
    """Counts the beats of an SFU instruction: `count` beats, a period apart.

    Latency: the first beat is `LATENCY` cycle after `start`.
    Throughput: a beat in two cycles at most.
    Cost: two counters and a register.

    Parameters: `count_bits`, `period_bits`.

    Members (no flow control):
        `start : In(1)`, `count : In(count_bits)`, `period : In(period_bits)`: a command
        `beat : Out(1)`: there is a beat in this cycle
        `begins : Out(1)`: the next cycle has a beat
        `again : Out(1)`: the next cycle has a beat that is not the first
        `more : Out(1)`: there are beats to come

    A period of less than `LEAST` cycles is a fault of the schedule: the next beat would be late by a
    whole turn of the counter. It fails an assertion in simulation.
    """

    LATENCY = 1
    LEAST = 2

    def __init__(self, count_bits: int, period_bits: int):
        super().__init__({
            "start": In(1), "count": In(count_bits), "period": In(period_bits),
            "beat": Out(1), "begins": Out(1), "again": Out(1), "more": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        left, period, since = Signal.like(self.count), Signal.like(self.period, reset_less=True), Signal.like(self.period)
        m.d.comb += [
            self.more.eq(left.any() & ~self.beat), self.again.eq(self.more & (since == period)),
            self.begins.eq(self.start | self.again),
        ]
        m.d.sync += [
            self.beat.eq(self.begins), since.eq(Mux(self.begins, 1, since + 1)),
            Assert(~(self.beat & (left > 1) & (period < self.LEAST)), "schedule fault: a beat of an SFU in each cycle"),
        ]
        with m.If(self.start):
            m.d.sync += [left.eq(self.count), period.eq(self.period)]
        with m.Elif(self.beat):
            m.d.sync += left.eq(left - 1)
        return m
