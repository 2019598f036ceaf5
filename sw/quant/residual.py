"""The residual in integers: the unit of each channel, and the gains with which norms read it.

A model's residual is 16 bits wide. Most models need one unit for all channels and layers. In others a
few channels are hundreds of times larger than the rest, and the first layers have values far smaller
than the last; in one unit, the small values are lost (docs/integers.md has figures). There each
channel has a unit of its own, which grows from layer to layer, and the units are multiplied into the
weights around the residual. Such a residual is called *balanced*.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...hdl.spec.integer import (
    INVERSE_POWER,
    POWER,
    RESCALE_SHIFT,
    SQUARE_SHIFT,
    UNIT_BITS,
    UNIT_SQUARE_SHIFT,
)
from ..model.graph import Kind
from ..model.model import Model
from .calibrate import RESIDUAL
from .fixed_point import HEADROOM, unit_bits

LEAST_RMS = 64
"""The smallest root mean square, in units of the residual, for which one unit is taken: a sum of
squares, each divided by 2**SQUARE_SHIFT and rounded, is then a third too small, at 128 5 %."""
LEAST_RANGE = 1024
"""The largest value of the typical channel, in units of the residual, for which one unit is fine
enough."""
MOST_UNIT = (1 << UNIT_BITS) - 1
LEAST_UNIT = 4
"""The largest and the smallest unit of a balanced channel, in steps of the common unit."""
LEAST_EPSILON_UNIT = 4
"""The smallest unit of the channel of epsilon, in steps of the common unit, as far as they are fine
enough."""
SMOOTHING, LAYER_SMOOTHING = 0.5, 0.75
"""Exponents in scale of a vector ~ range**exponent / weight**(1 - exponent), by channel: SmoothQuant's
alpha (Xiao et al., 2023, arXiv 2211.10438). The second is for the norms of layers, whose matrices
have a narrow range of weights; measured on SmolLM2 (docs/integers.md)."""
GAIN_BITS, FEWER_GAIN_BITS = 14, 6
"""Bits of a norm's largest gain, and how many fewer it may have; see `gains_of`."""
SPARE_BITS = 3
"""Bits that the typical channel of the second factor of a product gives up, so that more channels of
the product have the unit that they should have."""


@dataclass(frozen=True)
class Residual:
    """The units of the residual that one region of the graph makes: `begin`, or a layer.

    `unit`: the real value of a step: float64 [1], or [dim] if the residual is balanced. `epsilon`:
    what a norm adds to its sum of squares, 1 to 65,535; or, if the residual is balanced, the value of
    a channel behind the residual, whose square is a norm's epsilon times the channels. `units`: int16
    [dim + 1], the units of all channels, and of that one, in steps of `common`; None if not balanced.
    """

    unit: np.ndarray
    epsilon: int
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
        `integer.balanced_root`.
        """
        if not self.balanced:
            return np.sqrt(dim / 2.0**SQUARE_SHIFT)
        return np.sqrt(dim / 2.0**UNIT_SQUARE_SHIFT) * 2.0**7 / (POWER * self.common)

    def factors_from(self, before: "Residual") -> np.ndarray:
        """The numbers that bring a residual in the units of `before` to these, int16 [dim], with
        RESCALE_SHIFT fractional bits."""
        return np.rint(before.unit / self.unit * 2.0**RESCALE_SHIFT).astype(np.int16)


def model_residuals(model: Model, ranges: Mapping[str, np.ndarray], may_be_balanced: bool) -> list[Residual]:
    """The residuals that a model's `begin` and each layer make, by the `ranges` of its calibration; see `residuals_of`."""
    graph, layers = model.graph, range(model.config.n_layers)
    least_rms = 1 / max(float(value) for name, value in ranges.items() if name.endswith(".inverse_rms"))
    by_channel = None
    if may_be_balanced:
        table = np.abs(model.of(next(graph.of_kind(Kind.EMBED)))[0]).max(axis=0)
        begin = [ranges[f"{each.output.name}.channels"] for each in graph.begin if each.kind in (Kind.EMBED, Kind.POSITION)]
        sums = [each.output.name for each in graph.of_kind(Kind.ADD)]
        by_channel = [np.max([table, *begin], axis=0),
                      *(np.max([ranges[f"{layer}.{name}.channels"] for name in sums], axis=0) for layer in layers)]
    config = model.config
    return residuals_of(float(ranges[RESIDUAL]), by_channel, least_rms, len(layers) + 1, config.norm_eps * config.dim)


def residuals_of(largest: float, by_channel: Sequence[np.ndarray] | None, least_rms: float, regions: int,
                 square: float) -> list[Residual]:
    """The residual's units in `regions` regions, for values up to `largest`, and in each region by
    channel up to `by_channel` [dim].

    `least_rms`: the smallest root mean square of the input of a norm. `by_channel`: None if the
    residual must not be balanced. `square`: a norm's epsilon times the channels. A channel's unit
    never becomes smaller from region to region.
    """
    bits = unit_bits(largest)
    epsilon = int(np.clip(round(square * 4.0**bits / 2.0**SQUARE_SHIFT), 1, 65535))
    one = [Residual(np.array([2.0**-bits]), epsilon)] * regions
    if by_channel is None:
        return one
    ranges = np.maximum.accumulate(by_channel)
    if least_rms * 2.0**bits >= LEAST_RMS and np.median(ranges[-1]) * 2.0**bits >= LEAST_RANGE:
        return one
    return _balanced(ranges * (HEADROOM / 32767), np.sqrt(square))


def _balanced(wanted, epsilon):
    """The residuals whose channels have units of at least `wanted`, [regions, dim].

    `epsilon`: the real value of the channel behind them, whose value in steps is the same in all
    regions. A common unit is a power of two, so that equal ranges have equal units.
    """
    common = 2.0 ** np.ceil(np.log2(wanted.max(axis=1, keepdims=True) / MOST_UNIT))
    units = np.clip(np.ceil(wanted / common - 1e-9), LEAST_UNIT, MOST_UNIT)
    steps = epsilon / common
    value = int(np.clip(steps.min() / LEAST_EPSILON_UNIT, max(1, steps.max() / MOST_UNIT), 32767))
    units = np.concatenate([units, np.clip(np.rint(steps / value), 1, MOST_UNIT)], axis=1)
    return [Residual(whole[:-1] * float(step), value, whole.astype(np.int16), float(step))
            for whole, step in zip(units, common[:, 0], strict=True)]


def smoothing(ranges: np.ndarray, weights: Sequence[np.ndarray], of_layer: bool = False) -> np.ndarray:
    """Scales [dim] by which the channels of a vector are divided before it gets 8 bits.

    The columns of the matrices that read it are multiplied by them. `ranges`: the largest magnitudes
    of the vector, [dim]; `weights`: those matrices, [outputs, dim]; `of_layer`: the vector is made by a norm in a layer.
    """
    columns = np.max([np.abs(weight).max(axis=0) for weight in weights], axis=0).astype(np.float64)
    ranges, columns = (np.maximum(values, values.max() * 2.0**-20) for values in (ranges, columns))
    exponent = LAYER_SMOOTHING if of_layer else SMOOTHING
    scales = ranges**exponent / columns ** (1 - exponent)
    return scales / np.exp(np.log(scales).mean())


def gains_of(gains: Sequence[np.ndarray], roots: Sequence[float]) -> list[np.ndarray]:
    """The int16 gains of a norm in each layer.

    `gains`: float [dim], what the integers shall be in proportion to. `roots`: the real value of the
    norm's scalar (`Residual.root`). The integers of a layer have up to GAIN_BITS bits; they have
    fewer, but not by more than FEWER_GAIN_BITS, where that makes a step times the root as large as in
    other layers, so that the factors of the matrices behind them have one shift. Only gains of 0
    become 0.
    """
    finest = np.array([np.ceil(np.log2(np.abs(gain).max())) - GAIN_BITS for gain in gains])
    sizes = np.log2(roots)
    exponents = np.clip(np.floor((finest + sizes).max() - sizes), finest, finest + FEWER_GAIN_BITS)
    rounded = [np.rint(gain * 2.0**-exponent) for gain, exponent in zip(gains, exponents, strict=True)]
    return [np.where((whole == 0) & (gain != 0), np.sign(gain), whole).astype(np.int16)
            for whole, gain in zip(rounded, gains, strict=True)]


def filled_unit(range_shift: int) -> float:
    """The value of a filled vector's step, in products and times the vector's scalar; see `integer.filled`."""
    return 2.0 ** (range_shift + 8) / INVERSE_POWER


def by_block(ranges: np.ndarray, block: int) -> np.ndarray:
    """The largest of each block of `block` channels, for each of them."""
    starts = np.arange(0, len(ranges), block)
    return np.maximum.reduceat(ranges, starts).repeat(block)[:len(ranges)]


def product_units(others: Sequence[np.ndarray], scales: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The units of b, float [channels], by layer, for the product a * b, whose vector fills 16 bits.

    `others`: the largest magnitudes of b. `scales`: what the units of the product shall be in
    proportion to. They are, but for channels of b whose largest value would not fit 16 bits, and
    the typical channel of b keeps all bits but `SPARE_BITS`.
    """
    finest = [np.maximum(other, 1e-9) * 2.0 ** -unit_bits(1) for other in others]
    wanted = [scale * np.median(each / scale) * 2.0**SPARE_BITS for each, scale in zip(finest, scales, strict=True)]
    return [np.maximum(unit, each) for unit, each in zip(wanted, finest, strict=True)]
