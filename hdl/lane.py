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
CLAMP_BITS = 17


class Lane(wiring.Component):
    """saturate((a * b) >> shift + c), and the functions that are made of it.

    ::

        stage 1    a, b, c                             operands
              2    table address                       EXP2: scalar - a; SILU: a
              3    operands, or what the table has
              4    two products
              5    their sum (and the last beat's)     pair
              6    shift by a multiple of 16           EXP2 shifts by whole octaves besides
              7    shift by the rest
              8    round half up, to 17 bits           what lies outside saturates with any c
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
        beyond = sigmoid_at[SIGMOID_BITS:].any()
        m.d.comb += [
            power.addr.eq(below[:EXP2_BITS]), power.en.eq(1),
            logistic.addr.eq(Mux(beyond, ~sigmoid_at[-1].replicate(SIGMOID_BITS), sigmoid_at[:SIGMOID_BITS])),
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
        # Stages 6 and 7: one bit too few. Of what is left after a multiple of 16 bits, a rest of up to 15 takes the low
        # `window` bits into range; more than fits in them is out of range after any rest.
        more = stages(octaves, 2, "octaves")
        total = Signal(TOTAL_BITS + 1, reset_less=True)
        m.d.sync += total.eq(shift[4] + more[2])
        window = CLAMP_BITS + 1 + 15
        coarse, rest, shifted = Signal(signed(window)), Signal(4), Signal(signed(window), reset_less=True)
        sign, over = (stages(Signal(name=name), 2, name) for name in ("sign", "over"))
        whole = product << 1
        m.d.comb += [sign[0].eq(product[-1]), over[0].eq(0)]
        with m.Switch(total[4:]):
            for steps in range(3):
                with m.Case(steps):
                    left_over = whole >> 16 * steps
                    m.d.comb += coarse.eq(left_over)
                    if len(left_over) > window:
                        m.d.comb += over[0].eq(outside(left_over, window))
            with m.Default():
                m.d.comb += coarse.eq(product[-1].replicate(window))
        coarsely = Signal.like(coarse, reset_less=True)
        m.d.sync += [coarsely.eq(coarse), rest.eq(total[:4]), shifted.eq(coarsely >> rest)]
        # Stage 8: add one, drop the bit.
        clamped = Signal(signed(CLAMP_BITS), reset_less=True)
        limit = Cat((~sign[2]).replicate(CLAMP_BITS - 1), sign[2])
        near = shifted[:CLAMP_BITS + 1].as_signed()
        rounded = Signal(signed(CLAMP_BITS + 1))
        m.d.comb += rounded.eq((near + 1) >> 1)
        m.d.sync += clamped.eq(Mux(over[2] | outside(shifted, CLAMP_BITS + 1) | outside(rounded, CLAMP_BITS), limit.as_signed(),
                                   rounded))
        # Stage 9.
        last = clamped + c[8]
        m.d.sync += self.y.eq(Mux(self.keep, Mux(self.narrow, saturate(last, 8), saturate(last, 16)), 0))
        return m


def outside(value, bits):
    """Whether a signed value has more than `bits` bits."""
    top = value[bits - 1:]
    return top.any() & ~top.all()


def saturate(value, bits):
    """The nearest `bits`-bit signed number."""
    limit = Mux(value[-1], -(1 << bits - 1), (1 << bits - 1) - 1)
    return Mux(outside(value, bits), limit, value[:bits].as_signed())
