"""The dot product of two words, as a column of the MXM computes it."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .multiply import multiply_signed


class DotProduct(wiring.Component):
    """Computes sum(a[i] * b[i]), with registers before and after the multipliers and the sum.

    A platform whose device has cells for this puts them here: its `get_dot_product(dot)` returns an
    elaboratable, or None where they do not suit.

    Latency: `latency(stages)` cycles.
    Throughput: a dot product a cycle.
    Cost: `count` multipliers of 8 x `bits` bits, and a tree of adders.

    Parameters: `count`, of values in a word; `bits`, of a value of b, where a value of a has 8; `stages`, registers in the
    tree of adders, the one behind it included. More allow a faster clock where multipliers are far from each other.

    Members:
        `a : In(ArrayLayout(signed(8), count))`, `b : In(ArrayLayout(signed(bits), count))`: words
        `sum : Out`: their dot product, as wide as it can be
    """

    @staticmethod
    def latency(stages: int) -> int:
        """Cycles from the words to their dot product."""
        return 2 + stages

    def __init__(self, count: int, bits: int, stages: int = 1):
        self.count, self.bits, self.stages = count, bits, stages
        super().__init__({
            "a": In(data.ArrayLayout(signed(8), count)),
            "b": In(data.ArrayLayout(signed(bits), count)),
            "sum": Out(signed(8 + bits + (count - 1).bit_length())),
        })

    def elaborate(self, platform):
        device = getattr(platform, "get_dot_product", lambda dot: None)(self)
        return self.by_multipliers() if device is None else device

    def by_multipliers(self) -> Module:
        """The default: the device's multipliers, and a tree of adders."""
        m = Module()
        a, b = Signal(self.a.shape(), reset_less=True), Signal(self.b.shape(), reset_less=True)
        m.d.sync += [a.eq(self.a), b.eq(self.b)]
        products = registers(m, "product", [a[index] * b[index] for index in range(self.count)])
        m.d.comb += self.sum.eq(registered_sum(m, products, self.stages))
        return m

    def by_adders(self) -> Module:
        """The same in look-up tables, for a slow clock, where `stages` is 1.

        The first register is behind the products, the second behind the sums of two.
        """
        m = Module()
        products = registers(m, "product", [multiply_signed(self.a[index], self.b[index]) for index in range(self.count)])
        pairs = registers(m, "pair", [sum(products[i + 1:i + 2], products[i]) for i in range(0, self.count, 2)])
        m.d.comb += self.sum.eq(registered_sum(m, pairs, 1))
        return m


def registers(m: Module, name: str, values: list[Value]) -> list[Signal]:
    """A register after each value; returns the registers."""
    kept = [Signal.like(value, name=f"{name}{index}", reset_less=True) for index, value in enumerate(values)]
    m.d.sync += [register.eq(value) for register, value in zip(kept, values, strict=True)]
    return kept


def registered_sum(m: Module, values: list[Value], stages: int) -> Value:
    """The sum of values, by a balanced tree of adders with `stages` registers, the last one behind it. The first register
    has the fewest levels of adders before it, since its operands come from afar.

    Partial sums have the attribute `keep`: else Yosys makes one compressor of the whole tree, which
    takes a fifth more LUTs than carry chains.
    """
    levels = (len(values) - 1).bit_length()
    for stage in range(stages):
        for _ in range(levels * stage // stages, levels * (stage + 1) // stages):
            pairs = [sum(values[i + 1:i + 2], values[i]) for i in range(0, len(values), 2)]
            values = [Signal.like(pair, name="partial", attrs={"keep": 1}) for pair in pairs]
            m.d.comb += [value.eq(pair) for value, pair in zip(values, pairs, strict=True)]
        values = registers(m, "total" if stage == stages - 1 else f"stage{stage}_", values)
    return values[0]
