"""One lane of the VXM: its arithmetic."""

from collections.abc import Collection

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..parts.pipeline import Pipeline
from ..parts.product import Product
from ..spec.config import Config
from ..spec.integer import EXP2, EXP2_BITS, GATE_BITS, GELU, GELU_SHIFT, SIGMOID, SIGMOID_SHIFT
from ..spec.isa import Function, functions

TOTAL_BITS = 6
MOST_TOTAL = 47
"""Bits of the sum of a shift and a scalar's exponent, and the largest sum. A larger one counts as the largest."""
NEAR_BITS = 18
"""Bits of a value before it is rounded, the bit that is rounded included. A wider one saturates with any c."""


class Lane(wiring.Component):
    """Computes saturate((a * b) >> shift + c), and the functions that are made of it.

    ::

        stage 1    a, b, c                             operands
              2    table address                       EXP2: scalar - a; SILU, GELU: a
              3    operands, or the table's entry
              4    two products
              5    their sum (and the last beat's)     pair
              6    shift by a multiple of 16           EXP2 shifts by whole octaves besides
              7    shift by the rest
              8    round half up, + c
              9    saturate

    A register ends each stage; in a compact tile, only the stages in `COMPACT`.

    Latency: `y` is `latency(config)` cycles after its operands.
    Throughput: a value a cycle.
    Cost: two multipliers of 16 x 16 bits, and a memory of 256 x 16 bits for EXP2, one for SILU,
    and, if the configuration has `gelu`, one for GELU.

    Parameters: `config`.

    Members:
        `a : In(signed(config.accumulator_bits))`, `b : In(signed(16))`, `c : In(signed(16))`:
            operands; the functions other than MULTIPLY take an `a` that fits 16 bits
        `function : In(functions(config))`: chosen with the operands
        `shift : In(6)`: bits that are shifted out, 0 to `MOST_TOTAL`, with the operands
        `second : In(1)`: add the product of the beat before; given `delay(config, SECOND)` cycles
            after the operands
        `narrow : In(1)`: saturate to 8 bits, not 16; given `delay(config, LAST)` cycles after the
            operands
        `short : In(1)`: and of these to 4; given with `narrow`; only where keys and values have 4 bits
        `keep : In(1)`: else `y` is 0; given with `narrow`
        `y : Out(signed(16))`: the value
    """

    STAGES, SECOND, LAST = 9, 4, 8
    COMPACT = (2, 5, 7, 9)
    """Stages that end in a register always: tables are memories, and sums of pairs and results are kept."""

    @staticmethod
    def registers(config: Config) -> Collection[int]:
        """The stages that a register ends."""
        return Lane.COMPACT if config.compact else range(1, Lane.STAGES + 1)

    @staticmethod
    def delay(config: Config, stage: int) -> int:
        """Cycles from the operands to the end of a stage."""
        return sum(number <= stage for number in Lane.registers(config))

    @staticmethod
    def latency(config: Config) -> int:
        """Cycles from the operands to `y`."""
        return Lane.delay(config, Lane.STAGES)

    def __init__(self, config: Config):
        self._config = config
        super().__init__({
            "a": In(signed(config.accumulator_bits)), "b": In(signed(16)), "c": In(signed(16)),
            "function": In(functions(config)), "shift": In(TOTAL_BITS),
            "second": In(1), "narrow": In(1), "keep": In(1),
            "y": Out(signed(16)),
        } | ({"short": In(1)} if config.cache_bits == 4 else {}))

    def elaborate(self, platform):
        m = Module()
        pipe = Pipeline(m, self.registers(self._config))
        left, right, octaves = self._operands(m, pipe)
        # Stage 4, and the sum of two products in stage 5.
        m.submodules.product = product = Product(len(self.a), registered=4 in self.registers(self._config))
        m.d.comb += [product.a.eq(left), product.b.eq(right)]
        # Stage 5: plus the pair of the beat before.
        pair = Signal(signed(len(product.y) + 1), reset_less=True)
        shift = pipe.through(range(1, 5), self.shift, "shift")
        m.d.sync += pair.eq(product.y + Mux(self.second, pair, 0))
        total = pipe.at(5, shift + octaves, "total")
        added, over, sign = self._shift(m, pipe, pair, total)
        # Stage 9: saturate.
        beyond = over | outside(added, 16) | (self.narrow & outside(added, 8))
        negative = Mux(over, sign, added[-1])
        low = (~negative).replicate(7)
        if self._config.cache_bits == 4:
            beyond |= self.short & outside(added, 4)
            low = Cat(low[:3], (negative ^ ~self.short).replicate(4))
        limit = Cat(low, (negative ^ ~self.narrow).replicate(8), negative)
        m.d.sync += self.y.eq(Mux(self.keep, Mux(beyond, limit, added[:16]), 0))
        return m

    def _operands(self, m, pipe):
        """Stages 1 to 3. Returns the two factors, and the octaves that EXP2 shifts by."""
        a, b, function = (pipe.at(1, getattr(self, name), name) for name in ("a", "b", "function"))
        # Stage 2: table addresses. A score is at most the maximum, which is b; scores behind the position, which
        # may be larger, do not count.
        below, magnitude = Signal(signed(17)), Signal(15)
        m.d.comb += [below.eq(b - a[:16].as_signed()), magnitude.eq(a[:15] ^ a[15].replicate(15))]
        whole = below[EXP2_BITS:16]
        octaves = pipe.at(2, Mux(function == Function.EXP2, Mux(whole[5:].any(), 32, whole[:5]), 0), "octaves")
        m.submodules.exp2 = exp2 = Memory(shape=16, depth=len(EXP2), init=EXP2.tolist())
        m.submodules.sigmoid = sigmoid = Memory(shape=16, depth=len(SIGMOID), init=SIGMOID.tolist())
        power, logistic = exp2.read_port(), sigmoid.read_port()
        gates = {Function.SILU: (logistic, magnitude[SIGMOID_SHIFT:])}
        if self._config.gelu:
            m.submodules.gelu = gelu = Memory(shape=16, depth=len(GELU), init=GELU.tolist())
            normal = gelu.read_port()
            gates[Function.GELU] = normal, magnitude[GELU_SHIFT:]
        m.d.comb += [power.addr.eq(below[:EXP2_BITS]), power.en.eq(1)]
        for gate, entry in gates.values():
            beyond = entry[GATE_BITS:].any()
            m.d.comb += [gate.addr.eq(entry[:GATE_BITS] | beyond.replicate(GATE_BITS)), gate.en.eq(1)]
        # Stage 3: operands.
        a, b, function = pipe.at(2, a, "a"), pipe.at(2, b, "b"), pipe.at(2, function, "function")
        left, right = Signal.like(a), Signal.like(b)
        m.d.comb += [left.eq(a), right.eq(b)]
        with m.Switch(function):
            with m.Case(Function.EXP2):
                m.d.comb += [left.eq(power.data), right.eq(127)]
            for gated, (gate, _) in gates.items():
                with m.Case(gated):
                    m.d.comb += right.eq(gate.data ^ a[15].replicate(15))
        return pipe.at(3, left, "left"), pipe.at(3, right, "right"), pipe.through(range(3, 5), octaves, "octaves")

    def _shift(self, m, pipe, product, total):
        """Stages 6 to 8: shifts the product, rounds it and adds c.

        Returns the sum; whether the product is out of range whatever c is; and the product's sign.

        One bit too few is shifted out, for the rounding. After a shift by a multiple of 16 bits a
        rest of up to 15 is left, which takes the low `window` bits into range. A value that does
        not fit in these is out of range after any rest.
        """
        window = NEAR_BITS + 15
        coarse, over = Signal(signed(window)), Signal()
        whole = product << 1
        with m.Switch(total[4:]):
            for steps in range(3):
                with m.Case(steps):
                    left_over = whole >> 16 * steps
                    m.d.comb += coarse.eq(left_over)
                    if len(left_over) > window:
                        m.d.comb += over.eq(outside(left_over, window))
            with m.Default():
                m.d.comb += coarse.eq(product[-1].replicate(window))
        coarse, rest = pipe.at(6, coarse, "coarse"), pipe.at(6, total[:4], "rest")
        shifted = pipe.at(7, coarse >> rest, "shifted")
        c, sign, over = (pipe.through(stages, value, name) for stages, value, name in (
            (range(1, 8), self.c, "c"), (range(6, 8), product[-1], "sign"), (range(6, 8), over, "over")))
        # Stage 8: one adder adds half a unit and c.
        over = pipe.at(8, over | outside(shifted, NEAR_BITS), "over")
        added = (shifted[:NEAR_BITS].as_signed() + Cat(C(1, 1), c).as_signed()) >> 1
        return pipe.at(8, added, "added"), over, pipe.at(8, sign, "sign")


def outside(value, bits):
    """Whether a signed value has more than `bits` bits."""
    top = value[bits - 1:]
    return top.any() & ~top.all()
