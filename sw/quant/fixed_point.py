"""Fixed-point numbers of the integer model: units of values, and multipliers and shifts of matrices."""

from collections.abc import Sequence

import numpy as np

from ...hdl.spec.integer import MANTISSA_BITS
from .gptq import Integers
from .model import Linear

HEADROOM = 2.0
"""Static int16 ranges are this many times the largest value of calibration. Static int8 ranges have
no headroom: there, clipping a rare value costs less than a coarser step for all."""


def linears(made: Sequence[Integers], factors: Sequence[float | np.ndarray], biases: Sequence[np.ndarray | None],
            scaled: bool, by_group: bool = False, early: bool = False) -> list[Linear]:
    """`Linear` operations, one for each layer, from the matrices `made`.

    A result is factor * (matrix @ x) + bias. `factors`: for each layer a number, or float [outputs].
    `biases`: int16 [outputs] or None for each layer. `scaled`: the product is also multiplied by the
    scalar of x; `by_group`: each group or half of x has its own; `early`: see `Linear`. With several groups and
    one scalar no sum of them saturates, whatever the int8 inputs are, nor does an early product of the first half.
    """
    factors = [integers.scale * factor for integers, factor in zip(made, factors, strict=True)]
    rescale = 0
    if scaled and len(made[0].scale) > 1 and not by_group:
        pairs = zip(made, factors, strict=True)
        rescale = min(_sum_unit_bits(integers, factor) for integers, factor in pairs)
        factors, scaled = [factor * 2.0**rescale for factor in factors], False
    multipliers, shift = with_common_shift(factors)
    if not all(multiplier.size == 1 for multiplier in multipliers):
        multipliers = [np.broadcast_to(multiplier, (len(multiplier), len(integers.values)))
                       for integers, multiplier in zip(made, multipliers, strict=True)]
    first_shift = None
    if early:
        first_shift = max(_fitting_shift(integers, multiplier) for integers, multiplier in zip(made, multipliers, strict=True))
        rescale = shift - first_shift
    return [Linear(integers.values, multiplier, shift - MANTISSA_BITS * scaled, integers.group, rescale, bias,
                   first_shift=first_shift)
            for integers, multiplier, bias in zip(made, multipliers, biases, strict=True)]


def snapped(made: Sequence[Integers], weights: Sequence[np.ndarray], factors: Sequence[float | np.ndarray]) -> list[Integers]:
    """Matrices, rounded once more in scales whose multipliers are whole numbers.

    Where a multiplier is a small number, rounding it would change the size of an output by some per
    cent. Here the output's scale grows by as much instead, and its weights are rounded in that scale.
    `weights`: the float matrices, one for each layer; `factors`: as for `linears`.
    """
    wanted = [integers.scale * factor for integers, factor in zip(made, factors, strict=True)]
    _, shift = with_common_shift(wanted)
    found = []
    for integers, weight, exact in zip(made, weights, wanted, strict=True):
        scale = integers.scale * np.maximum(np.ceil(exact * 2.0**shift - 1e-6), 1) / (exact * 2.0**shift)
        by_input = scale.T.repeat(integers.group, axis=1)
        found.append(Integers(np.rint(weight / by_input).astype(np.int8), scale, integers.group))
    return found


def _sum_unit_bits(integers, factor):
    """The largest n for which the sums of a matrix's groups, in units of 2**-n, fit 16 bits for all
    int8 inputs."""
    starts = range(0, integers.values.shape[1], integers.group)
    sums = np.add.reduceat(np.abs(integers.values.astype(np.int64)), starts, axis=1)
    return int(np.floor(np.log2(32767 / (128 * (sums.T * factor).sum(axis=0).max()))))


def _fitting_shift(integers, multiplier):
    """The fewest bits by which the product of the first group must be shifted to fit 16 bits for all int8 inputs."""
    sums = np.abs(integers.values[:, :integers.group].astype(np.int64)).sum(axis=1)
    return int(np.ceil(np.log2((128 * sums * multiplier[0].astype(np.int64)).max() / 32767)))


def one_if_equal(steps: np.ndarray) -> np.ndarray:
    """The first of some steps, float [1], if all are equal; else all, float [channels]."""
    return steps[:1] if np.ptp(steps) == 0 else steps


def unit_bits(largest: float) -> int:
    """The largest n for which `largest` * HEADROOM, in units of 2**-n, fits 16 bits."""
    return int(np.floor(np.log2(32767 / (HEADROOM * max(float(largest), 1e-9)))))


def with_common_shift(factors: Sequence[np.ndarray]) -> tuple[list[np.ndarray], int]:
    """(multipliers, shift) with factor = multiplier / 2**shift: an int16 array for each float array
    of `factors`, and one shift, in bits, for all.

    The largest multiplier is above 2**13 and at most 2**14, as far as the shift's range, 0 to 47, allows.
    """
    shift = int(np.clip(14 - np.ceil(np.log2(max(np.max(factor) for factor in factors))), 0, 47))
    return [np.minimum(np.rint(factor * 2.0**shift), 32767).astype(np.int16) for factor in factors], shift
