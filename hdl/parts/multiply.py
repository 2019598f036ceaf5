"""Products in look-up tables: the hardware multipliers are for the arrays."""

from amaranth import *


def multiply(a: Value, b: Value) -> Value:
    """a * b of unsigned values, as a tree of len(b) - 1 adders in look-up tables."""
    rows = [Mux(bit, a << index, 0) for index, bit in enumerate(b)]
    while len(rows) > 1:
        rows = [sum(rows[i + 1:i + 2], rows[i]) for i in range(0, len(rows), 2)]
    return rows[0]


def multiply_signed(a: Value, b: Value) -> Value:
    """a * b of signed values, as a chain of adders.

    Each adds a row of a, or does not: a look-up table of an iCE40 has a bit of the adder and of the
    choice. The last bit of b counts negative.
    """
    first, *bits, sign = b.as_unsigned()
    total = Mux(first, a, 0)
    for index, bit in enumerate(bits, 1):
        total = Mux(bit, total + (a << index), total)
    # x - y is ~(~x + y), and a complement behind an adder costs nothing.
    return Mux(sign, ~(~total + (a << len(bits) + 1)), total)
