"""One lane of the VXM: its arithmetic."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .column import ACCUMULATOR_BITS
from .integer import EXP2, EXP2_BITS, SIGMOID, SIGMOID_BITS, SIGMOID_SHIFT
from .isa import Function

TOTAL_BITS = 6
"""A shift and a scalar's exponent add up to 0 to 47."""


class Lane(wiring.Component):
    """saturate((a * b) >> shift + c), and the functions that are made of it.

    ::

        stage 1    a, b, c                             operands
              2    table address                       EXP2: scalar - a; SILU: a
              3    operands, or what the table has
              4    two products
              5    their sum (and the last beat's)     pair
           6, 7    shift, round half up                EXP2 shifts by whole octaves besides
              8    17 bits                             what lies outside saturates with any c
              9    + c, saturate

    Latency: `y` is `LATENCY` cycles after `a`, `b`, `c`, `function`, `shift`; `second` is given with 4 cycles of delay,
    `narrow` and `keep` with 8. A value a cycle. Costs two 16 x 16 multipliers.

    Members: `a`: the stream's width; `b`, `c`: 16 bits; `function`; `shift`, 0 to 47; `second`: add the last product;
    `narrow`: to 8 bits; `keep`: else y is 0; `y`.
    """

    LATENCY = 9
    SECOND, LAST = 4, 8

    def __init__(self):
        super().__init__({
            "a": In(signed(ACCUMULATOR_BITS)), "b": In(signed(16)), "c": In(signed(16)),
            "function": In(Function), "shift": In(TOTAL_BITS), "second": In(1), "narrow": In(1), "keep": In(1),
            "y": Out(signed(16)),
        })

    def elaborate(self, platform):
        m = Module()

        def stages(value, count, name):
            """A value 0 to `count` stages later."""
            found = [value]
            for stage in range(count):
                found.append(Signal.like(value, name=f"{name}{stage + 1}", reset_less=True))
                m.d.sync += found[-1].eq(found[-2])
            return found

        a, b, c = stages(self.a, 2, "a"), stages(self.b, 2, "b"), stages(self.c, 8, "c")
        function, shift = stages(self.function, 2, "function"), stages(self.shift, 5, "shift")

        # Stage 2: table addresses. Scores are at most their maximum, and those behind the position do not count.
        below = Signal(signed(17))
        octaves = Signal(5 + 1, reset_less=True)
        sigmoid_at = Signal(signed(16 - SIGMOID_SHIFT + 1))
        m.d.comb += [
            below.eq(b[1] - a[1][:16].as_signed()),
            sigmoid_at.eq((a[1][:16].as_signed() >> SIGMOID_SHIFT) + (1 << SIGMOID_BITS - 1)),
        ]
        whole = below[EXP2_BITS:16]
        m.d.sync += octaves.eq(Mux(function[1] == Function.EXP2, Mux(whole[5:].any(), 32, whole[:5]), 0))
        m.submodules.exp2 = exp2 = Memory(shape=16, depth=len(EXP2), init=[int(entry) for entry in EXP2])
        m.submodules.sigmoid = sigmoid = Memory(shape=16, depth=len(SIGMOID), init=[int(entry) for entry in SIGMOID])
        power, logistic = exp2.read_port(), sigmoid.read_port()
        outside = sigmoid_at[SIGMOID_BITS:].any()
        m.d.comb += [
            power.addr.eq(below[:EXP2_BITS]), power.en.eq(1),
            logistic.addr.eq(Mux(outside, ~sigmoid_at[-1].replicate(SIGMOID_BITS), sigmoid_at[:SIGMOID_BITS])),
            logistic.en.eq(1),
        ]
        # Stage 3: operands.
        left, right = Signal.like(self.a, reset_less=True), Signal.like(self.b, reset_less=True)
        m.d.sync += [left.eq(a[2]), right.eq(b[2])]
        with m.Switch(function[2]):
            with m.Case(Function.EXP2):
                m.d.sync += [left.eq(power.data), right.eq(127)]
            with m.Case(Function.SILU):
                m.d.sync += right.eq(logistic.data)
        # Stage 4: two products that fit a DSP each.
        low, high = Signal(signed(33), reset_less=True), Signal(signed(32), reset_less=True)
        m.d.sync += [low.eq(left[:16] * right), high.eq(left[16:].as_signed() * right)]
        # Stage 5: their sum.
        product = Signal(signed(49), reset_less=True)
        m.d.sync += product.eq((high << 16) + low + Mux(self.second, product, 0))
        # Stages 6 and 7: one bit too few, add one, drop the bit.
        more = stages(octaves, 2, "octaves")
        total = Signal(TOTAL_BITS + 1, reset_less=True)
        m.d.sync += total.eq(shift[4] + more[2])
        shifted, rounded = Signal(signed(50), reset_less=True), Signal(signed(50), reset_less=True)
        m.d.sync += [shifted.eq((product << 1) >> total), rounded.eq((shifted + 1) >> 1)]
        # Stages 8 and 9.
        clamped = Signal(signed(17), reset_less=True)
        m.d.sync += clamped.eq(saturate(rounded, 17))
        last = clamped + c[8]
        m.d.sync += self.y.eq(Mux(self.keep, Mux(self.narrow, saturate(last, 8), saturate(last, 16)), 0))
        return m


def saturate(value, bits):
    """The nearest `bits`-bit signed number."""
    top = value[bits - 1:]
    limit = Mux(value[-1], -(1 << bits - 1), (1 << bits - 1) - 1)
    return Mux(top.any() & ~top.all(), limit, value[:bits].as_signed())
