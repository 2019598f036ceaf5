"""Rounds weights to integers, with a scale for each output channel or for each output channel and
group of input channels.

GPTQ (Frantar et al., 2022, https://arxiv.org/abs/2210.17323) rounds one input channel after another.
After each it changes the weights of the channels that are not rounded yet, so that they compensate
the rounding error; they can where their inputs are correlated with the channel's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

DAMPING = 0.01
"""Each element of the moment's diagonal is raised by DAMPING * mean(diagonal); the value is that of
the paper."""
FRACTIONS = np.linspace(0.6, 1.15, 12)
"""Candidate scales of a group, as fractions of the smallest scale that clips no weight."""
ON_GRID = 1e-3
"""Tolerance: a weight lies on a grid if it is within this fraction of a step of a multiple of the
step. The rounding of float32 or float16 scales is far smaller."""
UNIFORM = 1e-6
"""Relative tolerance: the steps of all outputs count as equal if they differ by less than this part
of the largest, which is about the rounding of float32."""


@dataclass(frozen=True)
class Integers:
    """A matrix [N outputs, K inputs] as integers: the weights of input k are values[:, k] * scale[k
    // group].

    `values`: int8 [N, K]. `scale`: float64 [groups, N], or [1, 1] if the whole matrix has one
    scale, or [K] if each input has its own. `group`: number of consecutive inputs that share a scale.
    """

    values: np.ndarray
    scale: np.ndarray
    group: int


def rounded(weights: Sequence[np.ndarray], moments: Sequence[np.ndarray | None], bits: int, sizes: Sequence[int],
            group: int = 0) -> list[Integers]:
    """The matrices of an operation, float [N, K], one for each layer, in integers.

    With 8 bits in groups of `group` inputs, see `nearest`. With 4 bits, `sizes` lists the sizes of groups to try, after one
    group for all inputs: the first size for which all matrices lie on a grid is taken, or else the
    last, with GPTQ and the `moments`.
    """
    if bits == 8:
        return [nearest(weight, bits, group) for weight in weights]
    for size in (weights[0].shape[1], *sizes):
        found = [on_grid(weight, bits, size) for weight in weights]
        if None not in found:
            return found
    return [gptq(weight, moment, bits, size) for weight, moment in zip(weights, moments, strict=True)]


def nearest(weight: np.ndarray, bits: int, group: int = 0) -> Integers:
    """Rounds each weight of a float matrix [N, K] to the nearest integer, with one scale for each
    output and each group of `group` inputs, of which the last may be smaller; one group if it is 0.

    A scale maps the largest magnitude to 2**(bits - 1) - 1, so nothing is clipped.
    """
    inputs = weight.shape[1]
    group = group or inputs
    largest = np.maximum.reduceat(np.abs(weight), range(0, inputs, group), axis=1)
    scale = np.maximum(largest, 1e-12) / ((1 << bits - 1) - 1)
    values = np.rint(weight / scale.repeat(group, axis=1)[:, :inputs]).astype(np.int8)
    return Integers(values, scale.T.astype(np.float64), group)


def nearest_by_channel(weight: np.ndarray, most: int) -> Integers:
    """Rounds each weight of a table [N, K] to the nearest integer up to `most`, with one scale for each column:
    `scale` is [K]."""
    scale = np.maximum(np.abs(weight).max(axis=0), 1e-12) / most
    return Integers(np.rint(weight / scale).astype(np.int8), scale.astype(np.float64), weight.shape[1])


def on_grid(weight: np.ndarray, bits: int, group: int) -> Integers | None:
    """The weights [N, K] as integers without rounding error, or None if they lie on no grid of
    `bits` bits.

    Weights lie on a grid if, for each output and group, there is a step of which they all are
    integer multiples; the largest such step becomes the scale. Weights that were trained or rounded
    for few bits lose nothing this way.
    """
    values, scales = np.zeros(weight.shape, np.int8), []
    for start in range(0, weight.shape[1], group):
        part = weight[:, start:start + group].astype(np.float64)
        largest = np.abs(part).max(axis=1)
        scale = np.zeros(len(part))
        for steps in range(1, (1 << bits - 1) + 1):
            whole = part * (steps / np.maximum(largest, 1e-30))[:, None]
            fits = (np.abs(whole - np.rint(whole)) < ON_GRID).all(axis=1) & (np.rint(whole).max(axis=1) < 1 << bits - 1)
            scale = np.where(fits & (scale == 0), np.maximum(largest, 1e-12) / steps, scale)
        if not scale.all():
            return None
        values[:, start:start + group] = np.rint(part / scale[:, None])
        scales.append(scale)
    scale = np.array(scales)
    if len(scale) == 1 and np.ptp(scale) <= UNIFORM * scale.max():
        scale = scale[:, :1]
    return Integers(values, scale, group)


def gptq(weight: np.ndarray, moment: np.ndarray, bits: int, group: int) -> Integers:
    """Rounds weights, float [N, K], with error compensation (GPTQ); see the head of this file.

    `moment`: float64 [K, K], the sums of products of the inputs (X.T @ X), from calibration.
    """
    rest, (outputs, inputs) = weight.astype(np.float64), weight.shape
    inverse, values, scales = damped_inverse(moment), np.zeros(weight.shape, np.int8), []
    for k in range(inputs):
        if k % group == 0:
            scales.append(_best_scale(rest[:, k:k + group], bits))
        scale = scales[-1]
        values[:, k] = _clip(rest[:, k] / scale, bits)
        error = (rest[:, k] - values[:, k] * scale) / inverse[k, k]
        rest[:, k + 1:] -= np.outer(error, inverse[k, k + 1:])
    return Integers(values, np.array(scales).reshape(-1, outputs), group)


def moment_of(ranges: Mapping[str, np.ndarray], name: str, unit: np.ndarray | float) -> np.ndarray:
    """The moment [K, K] of the inputs `name` of a matrix, counted in their `unit`. `ranges`: of a calibration."""
    return ranges[f"{name}.moment"] / np.outer(unit, unit)


def damped_inverse(moment: np.ndarray) -> np.ndarray:
    """The upper Cholesky factor of the inverse of a moment [K, K], whose diagonal is raised by the damping."""
    damping = DAMPING * max(float(np.diag(moment).mean()), 1e-12)
    return np.linalg.cholesky(np.linalg.inv(moment + damping * np.eye(len(moment)))).T


def _clip(x, bits):
    return np.clip(np.rint(x), -(1 << bits - 1), (1 << bits - 1) - 1)


def _best_scale(weight, bits):
    """The scale of each output, float64 [N], with the smallest squared error of weights [N, k]
    rounded to nearest."""
    scales = np.maximum(np.abs(weight).max(axis=1), 1e-12) / ((1 << bits - 1) - 1) * FRACTIONS[:, None]
    errors = [((_clip(weight / scale[:, None], bits) * scale[:, None] - weight) ** 2).sum(axis=1) for scale in scales]
    return scales[np.argmin(errors, axis=0), np.arange(len(weight))]
