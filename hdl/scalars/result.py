"""The result of a scalar function, from its operand."""

import numpy as np
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..spec.integer import MANTISSA_BITS, RECIPROCAL, RECIPROCAL_BITS, RSQRT
from ..spec.isa import Sfu
from ..spec.ports import EXPONENT_BITS, SCALAR_BITS
from .bank import Computed

CUT = 32 - MANTISSA_BITS
"""Bits below the mantissa of a number without zeros at its head."""
BELOW = MANTISSA_BITS - 1 - RECIPROCAL_BITS
"""Low bits of a mantissa that are not part of a table's address."""
TABLES = np.concatenate([RECIPROCAL, RSQRT.ravel()])
"""Both tables in one memory; QUANTISE uses the reciprocal's."""


class Result(wiring.Component):
    """Makes a mantissa of a number, and finds the function's value in a table.

    Latency: `write` is `LATENCY` cycles after `start`. QUANTISE has a second result in the cycle
    after that.
    Throughput: one number at a time.
    Cost: a memory of 512 x 16 bits, two shifters of a few bits, and an adder for exponents.

    Members (no flow control):
        `start : In(1)`: a number is there
        `x : In(32)`, `function : In(Sfu)`, `exponent : In(signed(EXPONENT_BITS))`: as `Operand` has
            them; they stay
        `write : Out(1)`, `result : Out(Computed)`: a result
        `second : Out(1)`: it is the second one of QUANTISE
    """

    LATENCY = 2

    def __init__(self):
        super().__init__({
            "start": In(1), "x": In(32), "function": In(Sfu), "exponent": In(signed(EXPONENT_BITS)),
            "write": Out(1), "result": Out(Computed), "second": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        function, headed_there, first = self.function, Signal(), Signal()
        m.d.sync += [headed_there.eq(self.start), first.eq(headed_there), self.second.eq(first & (function == Sfu.QUANTISE))]
        m.d.comb += self.write.eq(first | self.second)
        # Are its first 16 bits zeros, the first 8 of the rest, and so on? 0 counts as 1: the mantissa's highest
        # bit is always 1.
        headed, head = _without_zeros(self.x, (16, 8))
        rest, found = Signal.like(headed, reset_less=True), Signal.like(head, reset_less=True)
        normal, more = _without_zeros(rest, (4, 2, 1))
        mantissa, zeros, now = Signal(MANTISSA_BITS, reset_less=True), Signal(5, reset_less=True), Signal(5)
        m.d.comb += now.eq(Cat(more, found))
        m.d.sync += [rest.eq(headed), found.eq(head), mantissa.eq(Cat(normal[:-1], 1)), zeros.eq(now)]
        # A table is addressed by the bits below the leading one; an odd exponent is an even number of zeros.
        m.submodules.tables = tables = Memory(shape=SCALAR_BITS, depth=len(TABLES), init=TABLES.tolist())
        port, root = tables.read_port(), function == Sfu.RSQRT
        m.d.comb += [port.en.eq(1), port.addr.eq(Cat(Mux(root, ~now[0], normal[BELOW]), normal[BELOW + 1:-1], root))]
        with m.If(function == Sfu.MULTIPLY):
            m.d.comb += self.result.value.eq(mantissa)
        with m.Elif(self.second):
            m.d.comb += self.result.value.eq(Cat(C(1 << BELOW - 1, BELOW), mantissa[BELOW:]))
        with m.Else():
            m.d.comb += self.result.value.eq(port.data)
        # Exponents are those of `marey.hdl.spec.integer`, for x = mantissa * 2**-(zeros - CUT). ~n is 31 - n,
        # or 15 - n.
        base, part = Signal(signed(EXPONENT_BITS)), Signal.like(zeros)
        m.d.comb += [base.eq(self.exponent), part.eq(zeros), self.result.exponent.eq(base + part)]
        with m.Switch(function):
            with m.Case(Sfu.QUANTISE):
                m.d.comb += [base.eq(Mux(self.second, 7 - CUT, 22 + CUT - 31)), part.eq(Mux(self.second, zeros, ~zeros))]
            with m.Case(Sfu.RSQRT):
                m.d.comb += [base.eq(22 + CUT // 2 - 15), part.eq(~zeros[1:])]
            with m.Case(Sfu.RECIPROCAL):
                m.d.comb += [base.eq(29 + CUT - 31), part.eq(~zeros)]
        return m


def _without_zeros(value, counts):
    """Shifts a value left by each of `counts` if it has so many zeros at its head.

    Returns the value, cut to the bits that a mantissa needs, and a bit for each count, the last lowest: it was shifted.
    """
    found = []
    for count in counts:
        zeros = ~value[-count:].any()
        value = Mux(zeros, value << count, value)[:len(value)][-(MANTISSA_BITS + count - 1):]
        found.insert(0, zeros)
    return value, Cat(found)
