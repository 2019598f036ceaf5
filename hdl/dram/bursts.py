"""Counts the bursts of a move, and knows where the next one lies."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..spec.dram_parts import Part
from .pins import burst_bits


class BurstCounter(wiring.Component):
    """Holds the number of bursts that are left, and the addresses of this burst and of the next.

    Latency: `here` and `empty` follow `load` and `step` by 1 cycle, the others by 2.
    Cost: two adders, of an address and of a count.

    Parameters: `part`; `count_bits`; `group`, the bursts after which the stream stops for a REFRESH.

    Members (no flow control):
        `load : In(1)`, `address : In`, `count : In(count_bits)`: a move of so many bursts
        `step : In(1)`: the next burst
        `stop : In(1)`: one of the next three bursts is the last
        `here : Out`, `after : Out`: address of this burst, and of the next
        `new_row : Out(1)`: the next burst lies in another row, and in another bank
        `stops : Out(1)`: this burst is the last of the move, or the last before a REFRESH
        `empty : Out(1)`: no burst is left
    """

    def __init__(self, part: Part, count_bits: int, group: int):
        self._slot_bits, self._group = burst_bits(part)[0], group
        address = sum(burst_bits(part))
        super().__init__({
            "load": In(1), "address": In(address), "count": In(count_bits), "step": In(1), "stop": In(1),
            "here": Out(address), "after": Out(address), "new_row": Out(1), "stops": Out(1), "empty": Out(1, init=1),
        })

    def elaborate(self, platform):
        m = Module()
        left, of_group, stopped = Signal.like(self.count), Signal(range(self._group + 1)), Signal()
        m.d.sync += [
            self.after.eq(self.here + 1), self.new_row.eq(self.here[:self._slot_bits].all()),
            self.stops.eq((left == 0) | (of_group == self._group - 1)),
        ]
        # The row of the next burst may be open already, and must stay open for its time: so that burst is the last.
        m.d.sync += stopped.eq((stopped | self.stop) & ~self.load)
        with m.If(self.load):
            # `left` does not count this burst.
            m.d.sync += [self.here.eq(self.address), left.eq(self.count - 1), of_group.eq(0), self.empty.eq(0)]
        with m.Elif(self.step):
            m.d.sync += [
                self.here.eq(self.after), left.eq(Mux(stopped | (left == 0), 0, left - 1)), self.empty.eq(left == 0),
                of_group.eq(Mux(of_group == self._group - 1, 0, of_group + 1)),
            ]
        return m
