"""The product of a wide value and one of 16 bits: what a lane of the VXM multiplies with."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

MULTIPLIER_BITS = 16
"""Of the smallest hardware multipliers' operands."""


class Product(wiring.Component):
    """a * b, of two products that fit a hardware multiplier each.

    Latency: 0 cycles, or 1 where `registered`: then registers stand between the products and their sum. A product a cycle. A
    platform whose device has cells that do all this puts them here by its `get_product(product)`, which returns an elaboratable
    or, where they do not suit, None.

    Parameters: `width`, of a, above 16 and up to 32; `registered`.

    Members: `a`; `b`, 16 bits; `y`, as wide as both.
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
