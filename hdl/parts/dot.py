"""The dot product of two words: what the multipliers of a column of the MXM do together."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .multiply import multiply_signed


class DotProduct(wiring.Component):
    """sum(a[i] * b[i]), with registers before the multipliers, behind them, and behind the sum.

    Latency `LATENCY` = 3 cycles; a dot product a cycle. A platform whose device has cells for this puts them here by its
    `get_dot_product(dot)`, which returns an elaboratable or, where they do not suit, None.

    Parameters: `count`, of values in a word; `bits`, of b's; a's have 8.

    Members: `a`, `b`: words of signed values; `sum`.
    """

    LATENCY = 3

    def __init__(self, count: int, bits: int):
        self.count, self.bits = count, bits
        super().__init__({
            "a": In(data.ArrayLayout(signed(8), count)),
            "b": In(data.ArrayLayout(signed(bits), count)),
            "sum": Out(signed(8 + bits + (count - 1).bit_length())),
        })

    def elaborate(self, platform):
        device = getattr(platform, "get_dot_product", lambda dot: None)(self)
        return self.by_multipliers() if device is None else device

    def by_multipliers(self) -> Module:
        """Products, as the device multiplies, and a tree of adders."""
        m = Module()
        a, b = Signal(self.a.shape(), reset_less=True), Signal(self.b.shape(), reset_less=True)
        m.d.sync += [a.eq(self.a), b.eq(self.b)]
        products = registers(m, "product", [a[index] * b[index] for index in range(self.count)])
        m.d.comb += self.sum.eq(*registers(m, "total", [tree(m, products)]))
        return m

    def by_adders(self) -> Module:
        """The same in look-up tables, for a slow clock: the first register is behind the products, the second behind the sums
        of two."""
        m = Module()
        products = registers(m, "product", [multiply_signed(self.a[index], self.b[index]) for index in range(self.count)])
        pairs = registers(m, "pair", [sum(products[i + 1:i + 2], products[i]) for i in range(0, self.count, 2)])
        m.d.comb += self.sum.eq(*registers(m, "total", [tree(m, pairs)]))
        return m


def registers(m: Module, name: str, values: list[Value]) -> list[Signal]:
    """Behind each value one."""
    kept = [Signal.like(value, name=f"{name}{index}", reset_less=True) for index, value in enumerate(values)]
    m.d.sync += [register.eq(value) for register, value in zip(kept, values, strict=True)]
    return kept


def tree(m: Module, values: list[Value]) -> Value:
    """The sum of values, as a balanced tree of adders.

    Partial sums are kept: Yosys would make one compressor of the whole tree, which takes a fifth more LUTs than carry chains.
    """
    while len(values) > 1:
        pairs = [sum(values[i + 1:i + 2], values[i]) for i in range(0, len(values), 2)]
        values = [Signal.like(pair, name="partial", attrs={"keep": 1}) for pair in pairs]
        m.d.comb += [value.eq(pair) for value, pair in zip(values, pairs, strict=True)]
    return values[0]
