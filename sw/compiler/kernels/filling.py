"""Steps that divide a vector of products by a power of two, so that it fills 16 bits; see `integer.filled`.

The products are those of two vectors. A first pass finds the largest; a second, which computes them
once more, divides them by the power of two. The scalar unit makes two scalars of that power.
"""

from dataclasses import dataclass

from ....hdl.spec.integer import POWER_SHIFT, filling_shift
from ....hdl.spec.isa import Instruction, Op, Reduce, Sfu, To
from ..builder import POWER, RANGE, Builder
from ..steps import Step, step


@dataclass(frozen=True)
class Filling:
    """The filling of `count` granules: the products of the vectors at `x` and `y`.

    `range_shift`: as for `integer.filled`. `number`: 0 or 1; fillings at the same time have different
    numbers, and so registers of their own.
    """

    builder: Builder
    what: str
    count: int
    x: int
    y: object
    range_shift: int
    number: int = 0

    @property
    def power(self) -> int:
        """The first of two scalar registers: the scalars of the power of two, as `integer.filled` returns them."""
        return self.builder.power + 2 * self.number

    def measure(self, **spread: int) -> Instruction:
        """The pass that finds the largest product; `spread`: counts of a pass in several pieces."""
        return self._pass("range", shift=self.range_shift, to=To.NOWHERE, reduce=Reduce.ABSMAX, into=RANGE + self.number,
                          **spread)

    def fill(self, dst: int, **more) -> list[Step]:
        """Steps that write the divided products to `dst`; `more`: operands of the pass."""
        builder, inverse = self.builder, self.builder.inverse + self.number
        return [
            step(builder.op(Op.SFU, f"{self.what}: 1/range", function=Sfu.RECIPROCAL, a=RANGE + self.number, epsilon=1,
                            into=inverse)),
            step(self._pass("fill 16 bits", shift=filling_shift(self.range_shift), scalar=inverse, dst=dst, **more)),
        ]

    def scalars(self) -> list[Step]:
        """Steps that make the two scalars of the power of two, in the registers from `power` on."""
        builder, made = self.builder, POWER + self.number
        return [
            step(builder.vector_pass(
                f"{self.what}: power of two", 1, x=builder.layout.constants["one"], y=builder.place.constant("ones"),
                by_vector=1, shift=POWER_SHIFT, scalar=builder.inverse + self.number, to=To.NOWHERE, reduce=Reduce.ABSMAX,
                into=made)),
            step(builder.op(Op.SFU, f"{self.what}: scale of power", function=Sfu.QUANTISE, a=made, into=self.power)),
        ]

    def _pass(self, what, **operands):
        return self.builder.vector_pass(f"{self.what}: {what}", self.count, x=self.x, y=self.y, y_step=1, by_vector=1,
                                        **operands)
