"""Steps that divide a vector of products by a power of two, so that it fills 16 bits; see `integer.filled`.

The products are those of two vectors. A first pass finds the largest; a second, which computes them
once more, divides them by the power of two. The scalar unit makes two scalars of that power.
"""

from dataclasses import dataclass

from ....hdl.spec.integer import POWER_SHIFT, filling_shift
from ....hdl.spec.isa import Address, Op, Reduce, Sfu, To
from ..builder import REDUCED, Builder
from ..steps import Step, step


@dataclass(frozen=True)
class Filling:
    """The filling of `count` granules: the products of the vectors at `x` and `y`.

    `range_shift`: as for `integer.filled`. `number`: fillings at the same time have different numbers,
    below `Builder.fillings`, and so registers of their own.
    """

    builder: Builder
    what: str
    count: int
    x: int
    y: int | Address
    range_shift: int
    number: int = 0

    @property
    def scalar(self) -> int:
        """The first of two scalar registers: the scalars of the power of two, as `integer.filled` returns them."""
        return self.builder.power + 2 * self.number

    def measure(self, **turns: int) -> Step:
        """The pass that finds the largest product; `turns`: counts of a pass in several pieces."""
        return step(self._pass("range", shift=self.range_shift, to=To.NOWHERE, reduce=Reduce.ABSMAX, into=self._range, **turns))

    def invert(self) -> Step:
        """The step that makes 1 / (range + 1), whose exponent is that of the power of two."""
        return step(self.builder.op(Op.SFU, f"{self.what}: 1/range", function=Sfu.RECIPROCAL, a=self._range, epsilon=1,
                                    into=self._inverse))

    def fill(self, dst: int, **more: int) -> Step:
        """The pass that writes the divided products to `dst`, behind `invert`; `more`: its operands."""
        return step(self._pass("fill 16 bits", shift=filling_shift(self.range_shift), scalar=self._inverse, dst=dst, **more))

    def scalars(self) -> list[Step]:
        """Steps, behind `invert`, that make the two scalars of the power of two."""
        builder = self.builder
        return [
            step(builder.vector_pass(
                f"{self.what}: power of two", 1, x=builder.layout.constants["one"], y=builder.place.constant("ones"),
                by_vector=1, shift=POWER_SHIFT, scalar=self._inverse, to=To.NOWHERE, reduce=Reduce.ABSMAX, into=self._power)),
            step(builder.op(Op.SFU, f"{self.what}: scale of power", function=Sfu.QUANTISE, a=self._power, into=self.scalar)),
        ]

    @property
    def _range(self):
        """The register of the largest product."""
        return REDUCED + self.number

    @property
    def _power(self):
        """The register of the power of two, as a number that fits 16 bits."""
        return REDUCED + self.builder.fillings + self.number

    @property
    def _inverse(self):
        """The register of 1 / (range + 1)."""
        return self.builder.inverse + self.number

    def _pass(self, what, **operands):
        return self.builder.vector_pass(f"{self.what}: {what}", self.count, x=self.x, y=self.y, y_step=1, by_vector=1,
                                        **operands)
