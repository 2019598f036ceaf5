"""Products without a hardware multiplier: those are for the arrays."""

from amaranth import *


def multiply(a: Value, b: Value) -> Value:
    """a * b of unsigned values, as a tree of len(b) - 1 adders in look-up tables."""
    rows = [Mux(bit, a << index, 0) for index, bit in enumerate(b)]
    while len(rows) > 1:
        rows = [sum(rows[i + 1:i + 2], rows[i]) for i in range(0, len(rows), 2)]
    return rows[0]


def multiply_signed(a: Value, b: Value) -> Value:
    """a * b of signed values, likewise; the last bit of b counts negative."""
    *bits, sign = b.as_unsigned()
    total = -Mux(sign, a << len(bits), 0)
    for index, bit in enumerate(bits):
        total = total + Mux(bit, a << index, 0)
    return total
