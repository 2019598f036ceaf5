"""The operand of a scalar function."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..parts.multiply import multiply
from ..spec.config import Config
from ..spec.isa import EPSILON_BITS, Sfu
from ..spec.ports import EXPONENT_BITS, SCALAR_BITS
from .bank import Computed
from .result import CUT


class Operand(wiring.Component):
    """Makes the operand of a scalar function: a scalar + epsilon, or a product of two.

    x is a reduced scalar + epsilon, or the product of two computed scalars. A product is made from
    `Config.multiply_bits` bits of b a cycle, the lowest first. They are shifted out of x, which
    holds what is left of b below the product so far.

    Latency: `done` is `LATENCY` cycle after the registers' data, `steps(config)` more for MULTIPLY.
    x stays until the next beat.
    Throughput: one beat at a time.
    Cost: an adder of 32 bits, and a product of 16 x `multiply_bits` bits in look-up tables.

    Parameters: `config`.

    Members (no flow control):
        `beat : In(1)`, `function : In(Sfu)`, `epsilon : In(EPSILON_BITS)`: a beat
        `second : Out(1)`: read the registers at b in this cycle, not at a
        `reduced : In(32)`, `computed : In(Computed)`: what the registers had a cycle ago
        `done : Out(1)`, `x : Out(32)`: the operand
        `exponent : Out(signed(EXPONENT_BITS))`: of a product without its lowest `CUT` bits
    """

    LATENCY = 1

    @staticmethod
    def steps(config: Config) -> int:
        """Cycles of a multiplication."""
        return SCALAR_BITS // config.multiply_bits

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
            high, factor, digit = self.x[SCALAR_BITS:], self.computed.value, self.x[:bits]
            # One look-up table of an iCE40 holds a bit of the adder and of the multiplexer behind it.
            high = Mux(digit, high + factor, high) if bits == 1 else high + multiply(factor, digit)
            m.d.sync += self.x.eq(Cat(self.x[bits:SCALAR_BITS], high))
        with m.If(there | (multiplying & (step == 0))):
            m.d.sync += self.exponent.eq(Mux(there, -CUT, self.exponent) + self.computed.exponent)
        return m
