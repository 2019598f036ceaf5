"""The product of a wide value and one of 16 bits, for the lanes of the VXM."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

MULTIPLIER_BITS = 16
"""Bits of an operand of the smallest hardware multipliers."""


class Product(wiring.Component):
    """Multiplies a wide value by one of 16 bits, with two hardware multipliers.

    A platform whose device has cells that do all this puts them here: its `get_product(product)`
    returns an elaboratable, or None where they do not suit.

    Latency: 0 cycles; 1 if `registered`, with registers between the products and their sum.
    Throughput: a product a cycle.
    Cost: two multipliers of 16 x 16 bits, and an adder.

    Parameters: `width` of a, above 16 and up to 32; `registered`.

    Members:
        `a : In(signed(width))`, `b : In(signed(16))`: factors
        `y : Out(signed(width + 16))`: their product
    """

    def __init__(self, width: int, *, registered: bool):
        self.width, self.registered = width, registered
        super().__init__({"a": In(signed(width)), "b": In(signed(MULTIPLIER_BITS)), "y": Out(signed(width + MULTIPLIER_BITS))})

    def elaborate(self, platform):
        device = getattr(platform, "get_product", lambda product: None)(self)
        if device is not None:
            return device
        m = Module()
        products = [self.a[:MULTIPLIER_BITS] * self.b, self.a[MULTIPLIER_BITS:].as_signed() * self.b]
        if self.registered:
            kept = [Signal.like(product, name=name, reset_less=True)
                    for name, product in zip(("low", "high"), products, strict=True)]
            m.d.sync += [register.eq(product) for register, product in zip(kept, products, strict=True)]
            products = kept
        low, high = products
        m.d.comb += self.y.eq((high << MULTIPLIER_BITS) + low)
        return m
