"""The chain of a VXM instruction: which beats of a turn take the MXM's results, and which go on with them."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..spec.chained import TABLE_UNIT
from ..spec.config import Config
from ..spec.isa import Op, Then, isa_of


class Chain(wiring.Component):
    """Says what a beat of an instruction does whose operand `then` is not NOTHING, and where its operands are.

    ::

        beat of a turn, from 1 on    1 to 4                 5 to 7   8 to 11, or with TURN to 15
                                     takes the stream       none     takes what 1 to 4 have written

    See `marey.hdl.spec.chained`. Without `then` it changes nothing.

    Latency: none.
    Throughput: a beat a cycle.
    Cost: some two LUTs for each bit of an address; no adder.

    Parameters: `config`, of a tile that is chained.

    Members:
        `then : In(Then)`: of the instruction
        `number : In`: of the beat in its turn, from 1 on
        `x : In`: granule of the first value of the turn, or of the value without `then`
        `y : In`: granule of operand y of the stream
        `last : In`: results of a head, less one; `table : In`: where rotations begin: operands x_hop and y_hop of a TURN
        `on : Out(1)`: there is a `then`
        `pause : Out(1)`: there is no beat
        `chained : Out(1)`: the beat takes what others have written
        `turning : Out(1)`: it is one of a pair; `second : Out(1)`: the second
        `x_address : Out`, `y_address : Out`: granules of its operands
    """

    def __init__(self, config: Config):
        isa = isa_of(config)
        command = isa.command(Op.VXM)
        granule = command["x"].shape
        super().__init__({
            "then": In(Then), "number": In(isa.count_bits), "x": In(granule), "y": In(granule),
            "last": In(command["x_hop"].shape), "table": In(command["y_hop"].shape),
            "on": Out(1), "pause": Out(1), "chained": Out(1), "turning": Out(1), "second": Out(1),
            "x_address": Out(granule), "y_address": Out(granule),
        })

    def elaborate(self, platform):
        m = Module()
        number, place = self.number, Signal(2)
        within = (TABLE_UNIT - 1).bit_length()
        rotations = Cat(number[:within], (self.x[2:] & self.last) | self.table)
        m.d.comb += [
            self.on.eq(self.then != Then.NOTHING),
            self.chained.eq(self.on & number[3]),
            self.pause.eq(self.on & ~number[3] & number[2] & number[:2].any()),
            self.turning.eq(self.chained & (self.then == Then.TURN)),
            self.second.eq(self.turning & number[0]),
            place.eq(Mux(self.turning, number[1:3] ^ number[0], Mux(self.chained, number[:2], number[:2] - 1))),
            self.x_address.eq(Mux(self.on, Cat(place, self.x[2:]), self.x)),
            self.y_address.eq(Mux(self.chained, Mux(self.turning, rotations, self.x_address), self.y)),
        ]
        return m
