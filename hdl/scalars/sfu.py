"""The stages of the scalar unit: when its beats are, what their operand is, and what becomes of it.

One beat is at work at a time, so that what one stage has kept the later ones find there.
"""

import numpy as np
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..parts.multiply import multiply
from ..spec.config import Config
from ..spec.integer import MANTISSA_BITS, RECIPROCAL, RECIPROCAL_BITS, RSQRT
from ..spec.isa import EPSILON_BITS, Sfu
from .bank import EXPONENT_BITS, VALUE_BITS, Computed

CUT = 32 - MANTISSA_BITS
"""Bits below the mantissa of a number without zeros at its head."""
BELOW = MANTISSA_BITS - 1 - RECIPROCAL_BITS
"""Bits of a mantissa that address no table."""
TABLES = np.concatenate([RECIPROCAL, RSQRT.ravel()])
"""One memory for both; QUANTISE is a reciprocal too."""


class Pace(wiring.Component):
    """`count` beats, a period apart.

    Latency: the first beat is `LATENCY` cycle after `start`.

    Members: `start`, and `count`, `period` with it; `beat`; `begins`: the next cycle has a beat; `again`: and it is not the
    first; `more`: there are beats to come.
    """

    LATENCY = 1

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
        m.d.sync += [self.beat.eq(self.begins), since.eq(Mux(self.begins, 1, since + 1))]
        with m.If(self.start):
            m.d.sync += [left.eq(self.count), period.eq(self.period)]
        with m.Elif(self.beat):
            m.d.sync += left.eq(left - 1)
        return m


class Operand(wiring.Component):
    """What a function is of: a reduced scalar + epsilon, or the product of two computed ones.

    `Config.multiply_bits` of b are multiplied in a cycle, from the lowest on, and shifted out: x has what is left of b below
    what there is of the product.

    Latency: `done` is `LATENCY` cycle after the registers' data, or `steps` more for MULTIPLY, and x stays until the next beat.

    Members: `beat`, `function`, `epsilon`; `second`: the registers are to be read at b, and not at a; `reduced`, `computed`:
    what they had there a cycle ago; `done`: x is there; `x`; `exponent`, of a product without its lowest `CUT` bits.
    """

    LATENCY = 1

    @staticmethod
    def steps(config: Config) -> int:
        """Cycles of a multiplication."""
        return VALUE_BITS // config.multiply_bits

    def __init__(self, config: Config):
        self._config = config
        super().__init__({
            "beat": In(1), "function": In(Sfu), "epsilon": In(EPSILON_BITS),
            "second": Out(1), "reduced": In(32), "computed": In(Computed),
            "done": Out(1), "x": Out(32), "exponent": Out(signed(EXPONENT_BITS)),
        })

    def elaborate(self, platform):
        m = Module()
        bits, steps = self._config.multiply_bits, self.steps(self._config)
        there, multiplying, step = Signal(), Signal(), Signal(range(steps))
        is_product, last = Signal(), Signal()
        m.d.comb += [
            is_product.eq(self.function == Sfu.MULTIPLY), self.second.eq(self.beat & is_product),
            last.eq(multiplying & (step == steps - 1)),
        ]
        m.d.sync += [
            there.eq(self.beat), multiplying.eq((there & is_product) | (multiplying & ~last)), step.eq(step + multiplying),
            self.done.eq(Mux(is_product, last, there)),
        ]
        with m.If(there):
            m.d.sync += self.x.eq(Mux(is_product, self.computed.value, self.reduced + self.epsilon))
        with m.Elif(multiplying):
            high, factor, digit = self.x[VALUE_BITS:], self.computed.value, self.x[:bits]
            # A look-up table of an iCE40 has a bit of an adder and of the choice behind it.
            high = Mux(digit, high + factor, high) if bits == 1 else high + multiply(factor, digit)
            m.d.sync += self.x.eq(Cat(self.x[bits:VALUE_BITS], high))
        with m.If(there | (multiplying & (step == 0))):
            m.d.sync += self.exponent.eq(Mux(there, -CUT, self.exponent) + self.computed.exponent)
        return m


class Result(wiring.Component):
    """Makes a mantissa of a number, and finds the function's in a table.

    Latency: `write` is `LATENCY` cycles after `start`; QUANTISE has a second result in the cycle after that.

    Members: `start`, `x`, `function`, `exponent`: as `Operand` has them, and they stay; `write`, `result`; `second`: it is
    QUANTISE's second.
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
        # Are its first 16 bits zeros, the first 8 of what is left, and so on? 0 counts as 1: the mantissa's highest bit is 1
        # without a look.
        headed, head = _without_zeros(self.x, (16, 8))
        rest, found = Signal.like(headed, reset_less=True), Signal.like(head, reset_less=True)
        normal, more = _without_zeros(rest, (4, 2, 1))
        mantissa, zeros, now = Signal(MANTISSA_BITS, reset_less=True), Signal(5, reset_less=True), Signal(5)
        m.d.comb += now.eq(Cat(more, found))
        m.d.sync += [rest.eq(headed), found.eq(head), mantissa.eq(Cat(normal[:-1], 1)), zeros.eq(now)]
        # A table is addressed by the bits below the leading one; an odd exponent is an even number of zeros.
        m.submodules.tables = tables = Memory(shape=VALUE_BITS, depth=len(TABLES), init=TABLES.tolist())
        port, root = tables.read_port(), function == Sfu.RSQRT
        m.d.comb += [port.en.eq(1), port.addr.eq(Cat(Mux(root, ~now[0], normal[BELOW]), normal[BELOW + 1:-1], root))]
        with m.If(function == Sfu.MULTIPLY):
            m.d.comb += self.result.value.eq(mantissa)
        with m.Elif(self.second):
            m.d.comb += self.result.value.eq(Cat(C(1 << BELOW - 1, BELOW), mantissa[BELOW:]))
        with m.Else():
            m.d.comb += self.result.value.eq(port.data)
        # Exponents are those of `marey.hdl.spec.integer` for x = mantissa * 2**-(zeros - CUT). ~n is 31 - n, or 15 - n.
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
    """A value without so many zeros at its head where it has them, cut to what a mantissa needs; and, last first, which."""
    found = []
    for count in counts:
        zeros = ~value[-count:].any()
        value = Mux(zeros, value << count, value)[:len(value)][-(MANTISSA_BITS + count - 1):]
        found.insert(0, zeros)
    return value, Cat(found)
