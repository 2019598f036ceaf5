"""The residual in integers: the unit of each channel, and the gains with which norms read it.

A model's residual is 16 bits wide. Most models need one unit for all channels. In others a few
channels are hundreds of times larger than the rest, or the first layers have values far smaller than
the last; in one unit, the small values are lost (docs/integers.md has figures). There each channel
has a unit of its own, and the units are multiplied into the weights around the residual. Such a
residual is called *balanced*.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...hdl.spec.integer import POWER, SQUARE_SHIFT, UNIT_BITS, UNIT_SQUARE_SHIFT, quantise_scalars
from .fixed_point import unit_bits

LEAST_RMS = 64
"""The smallest root mean square, in units of the residual, for which one unit is taken: a sum of
squares, each divided by 2**SQUARE_SHIFT and rounded, is then a third too small, at 128 5 %."""
LEAST_RANGE = 1024
"""The largest value of the typical channel, in units of the residual, for which one unit is fine
enough."""
BALANCED_HEADROOM = 1.3
"""A balanced channel's range is this many times its largest value of calibration."""
MOST_UNIT = (1 << UNIT_BITS) - 1
LEAST_UNIT = 4
"""The largest and the smallest unit of a balanced channel, in steps of the common unit."""
SMOOTHING = 0.5
"""The exponent in scale of a norm's result ~ range**SMOOTHING / weight**(1 - SMOOTHING), by channel:
SmoothQuant's alpha (Xiao et al., 2023, arXiv 2211.10438)."""
GAIN_BITS = 14
"""Bits of a norm's largest gain."""


@dataclass(frozen=True)
class Residual:
    """The units of the residual.

    `unit`: the real value of a step: one number, or float64 [dim] if the residual is balanced.
    `units`: int16 [dim], the unit of each channel in steps of `common`; None if not balanced.
    """

    unit: float | np.ndarray
    units: np.ndarray | None = None
    common: float = 0.0

    @property
    def balanced(self) -> bool:
        """Whether each channel has a unit of its own."""
        return self.units is not None

    def root(self, dim: int) -> float:
        """The real value of a norm's scalar, for a scalar of 1 and a step of 1 of the norm's input.

        Not balanced, the tile has s = (sum of squares) / 2**SQUARE_SHIFT in steps of the residual.
        Balanced, it has q = (sum of squares of u) / 2**UNIT_SQUARE_SHIFT, where u = (x / common) /
        2**(exponent - 15), and the scalar is `POWER` * 2**(8 - exponent) / sqrt(q): see
        `integer.balanced_scalar`.
        """
        if not self.balanced:
            return np.sqrt(dim / 2.0**SQUARE_SHIFT)
        return np.sqrt(dim / 2.0**UNIT_SQUARE_SHIFT) * 2.0**7 / (POWER * self.common)

    def epsilon(self, norm_eps: float, dim: int) -> int:
        """The epsilon of a norm: what is added to its sum of squares, 1 to 65,535.

        A balanced norm has it as a channel of its own instead (`epsilon_channel`), and adds 0.
        """
        if self.balanced:
            return 0
        return int(np.clip(round(norm_eps * dim / self.unit**2 / 2.0**SQUARE_SHIFT), 1, 65535))

    def epsilon_channel(self, norm_eps: float, dim: int) -> tuple[int, int]:
        """(value, unit in steps of `common`) of a channel whose square is norm_eps * dim."""
        steps = max(1, round(np.sqrt(norm_eps * dim) / self.common))
        unit = min(-(-steps // 32767), MOST_UNIT)
        return min(round(steps / unit), 32767), unit


def residual_of(largest: float, by_channel: np.ndarray | None, least_rms: float) -> Residual:
    """The residual's units for values up to `largest`, by channel up to `by_channel` [dim].

    `least_rms`: the smallest root mean square of the input of a norm. `by_channel`: None if the
    residual must not be balanced.
    """
    bits = unit_bits(largest)
    if by_channel is None:
        return Residual(2.0**-bits)
    if least_rms * 2.0**bits >= LEAST_RMS and np.median(by_channel) * 2.0**bits >= LEAST_RANGE:
        return Residual(2.0**-bits)
    wanted = by_channel * (BALANCED_HEADROOM / 32767)
    common = wanted.max() / MOST_UNIT
    units = np.clip(np.ceil(wanted / common - 1e-9), LEAST_UNIT, MOST_UNIT)
    return Residual(units * common, units.astype(np.int16), common)


def smoothing(ranges: np.ndarray, weights: Sequence[np.ndarray]) -> np.ndarray:
    """Scales [dim] by which the channels of a norm's result are divided before it gets 8 bits.

    The columns of the matrices that read the result are multiplied by them. `ranges`: the largest
    magnitudes of the result, [dim]; `weights`: those matrices, [outputs, dim].
    """
    columns = np.max([np.abs(weight).max(axis=0) for weight in weights], axis=0).astype(np.float64)
    ranges, columns = (np.maximum(values, values.max() * 2.0**-20) for values in (ranges, columns))
    scales = ranges**SMOOTHING / columns ** (1 - SMOOTHING)
    return scales / np.exp(np.log(scales).mean())


def gains_of(gains: Sequence[np.ndarray], largest: Sequence[float]) -> tuple[list[np.ndarray], list[int]]:
    """(int16 gains, shifts): a norm's gains and their shift, in each layer.

    A norm's input times its gains, shifted right by `shift` bits, is a 16-bit vector that uses many
    of its bits in every layer. `gains`: float [dim] in each layer, in a common unit. `largest`: the
    largest magnitude of the input times `gains` in each layer. Only gains of 0 become 0.
    """
    exponent = GAIN_BITS - int(np.ceil(np.log2(max(np.abs(gain).max() for gain in gains))))
    rounded = [np.rint(gain * 2.0**exponent) for gain in gains]
    integers = [np.where((whole == 0) & (gain != 0), np.sign(gain), whole).astype(np.int16)
                for whole, gain in zip(rounded, gains, strict=True)]
    return integers, [max(0, exponent - unit_bits(most)) for most in largest]


def levels_of(shifts: Sequence[int]) -> tuple[np.ndarray, np.ndarray, int]:
    """(int16 levels, their real values, the instruction's shift) for the shifts of a norm in each
    layer.

    All layers share their instructions, so a shift that depends on the layer is the exponent of a
    scalar: `integer.quantise_scalars` makes two scalars of a layer's level, a power of two. The
    exponent of the first is added to the instruction's shift. The second multiplies the norm's
    scalar; so the factors of the matrices that read the norm are of similar size in all layers, and
    precise in the one shift that they have.
    """
    chosen = np.array([1 << shift - min(shifts) for shift in shifts], np.int64)
    (_, added), (mantissa, exponent) = quantise_scalars(chosen)
    return chosen.astype(np.int16), mantissa * 2.0**-exponent, int(min(shifts) - added.min())


def product_units(ranges: Sequence[np.ndarray], others: Sequence[np.ndarray], scales: Sequence[np.ndarray],
                  bits: int) -> tuple[list[np.ndarray], list[np.ndarray], int]:
    """(units of the result, units of b, shift) of the integer product (a * b) >> shift, by channel
    and layer.

    `ranges`, `others`: the largest magnitudes of the result and of b. `scales`: what the units of the
    result shall be in proportion to. `bits`: a unit of a is 2**-bits.

    A larger shift means a finer unit of b. It is as large as the typical channel of each layer
    allows; in other channels the result gets a coarser unit.
    """
    units = [scale * 2.0 ** -unit_bits((largest / scale).max()) for largest, scale in zip(ranges, scales, strict=True)]
    finest = [np.maximum(other, 1e-9) * 2.0 ** -unit_bits(1) for other in others]
    room = min(np.log2(np.median(unit / each)) for unit, each in zip(units, finest, strict=True))
    shift = int(np.clip(bits + np.floor(room), 0, 15))
    units = [np.maximum(unit, each * 2.0 ** (shift - bits)) for unit, each in zip(units, finest, strict=True)]
    return units, [unit * 2.0 ** (bits - shift) for unit in units], shift
