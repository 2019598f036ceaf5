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

from ...hdl.spec.integer import (
    INVERSE_POWER,
    POWER,
    SQUARE_SHIFT,
    UNIT_BITS,
    UNIT_SQUARE_SHIFT,
)
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
SPARE_BITS = 3
"""Bits that the typical channel of the second factor of a product gives up, so that more channels of
the product have the unit that they should have."""


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


def gains_of(gains: Sequence[np.ndarray]) -> list[np.ndarray]:
    """A norm's int16 gains in each layer, in proportion to `gains`, float [dim] in a common unit. Only
    gains of 0 become 0."""
    exponent = GAIN_BITS - int(np.ceil(np.log2(max(np.abs(gain).max() for gain in gains))))
    rounded = [np.rint(gain * 2.0**exponent) for gain in gains]
    return [np.where((whole == 0) & (gain != 0), np.sign(gain), whole).astype(np.int16)
            for whole, gain in zip(rounded, gains, strict=True)]


def filled_unit(range_shift: int) -> float:
    """The value of a filled vector's step, in products and times the vector's scalar; see `integer.filled`."""
    return 2.0 ** (range_shift + 8) / INVERSE_POWER


def product_units(others: Sequence[np.ndarray], scales: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The units of b, float [channels], by layer, for the product a * b, whose vector fills 16 bits.

    `others`: the largest magnitudes of b. `scales`: what the units of the product shall be in
    proportion to. They are, but for channels of b whose largest value would not fit 16 bits, and
    the typical channel of b keeps all bits but `SPARE_BITS`.
    """
    finest = [np.maximum(other, 1e-9) * 2.0 ** -unit_bits(1) for other in others]
    wanted = [scale * np.median(each / scale) * 2.0**SPARE_BITS for each, scale in zip(finest, scales, strict=True)]
    return [np.maximum(unit, each) for unit, each in zip(wanted, finest, strict=True)]
