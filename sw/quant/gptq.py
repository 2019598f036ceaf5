"""Weights to integers, with a scale per output channel and, if wanted, per group of input channels.

GPTQ (Frantar et al., 2022, https://arxiv.org/abs/2210.17323) rounds one input channel after another, and takes up the
error of each in the channels that are still to come, as far as the inputs are correlated.
"""

from dataclasses import dataclass

import numpy as np

DAMPING = 0.01
"""Of the mean of the moment's diagonal, added to it: GPTQ's own value."""
FRACTIONS = np.linspace(0.6, 1.15, 12)
"""Scales that are tried for a group, as fractions of the one that clips nothing."""
ON_GRID = 1e-3
"""What a weight that lies on a grid may be off it, in steps: far more than float32 or float16 scales leave."""
ALIKE = 1e-6
"""By what part steps of a matrix that has one may differ: what float32 leaves of whole steps."""


@dataclass(frozen=True)
class Integers:
    """A matrix as integers: `values` int8 [N, K]; `scale` float64 [groups, N], or [1, 1] if it is one for the whole matrix;
    `group`: inputs that share a scale.

    The weight of input k is values[:, k] * scale[k // group].
    """

    values: np.ndarray
    scale: np.ndarray
    group: int


def nearest(weight: np.ndarray, bits: int) -> Integers:
    """Each weight [N, K] rounded to nearest, one scale an output channel, which clips nothing."""
    scale = np.maximum(np.abs(weight).max(axis=1), 1e-12) / ((1 << bits - 1) - 1)
    return Integers(np.rint(weight / scale[:, None]).astype(np.int8), scale[None].astype(np.float64), weight.shape[1])


def on_grid(weight: np.ndarray, bits: int, group: int) -> Integers | None:
    """The weights [N, K] as they are, if those of each group are whole numbers of a step; else None.

    The step is the largest for which they are, so that weights which were trained or rounded for few bits lose nothing.
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
    if len(scale) == 1 and np.ptp(scale) <= ALIKE * scale.max():
        scale = scale[:, :1]
    return Integers(values, scale, group)


def gptq(weight: np.ndarray, moment: np.ndarray, bits: int, group: int) -> Integers:
    """Weights [N, K] rounded with error compensation. `moment`: sums of products of the inputs [K, K], from calibration."""
    rest, (outputs, inputs) = weight.astype(np.float64), weight.shape
    damping = DAMPING * max(float(np.diag(moment).mean()), 1e-12)
    inverse = np.linalg.cholesky(np.linalg.inv(moment + damping * np.eye(inputs))).T
    values, scales = np.zeros(weight.shape, np.int8), []
    for k in range(inputs):
        if k % group == 0:
            scales.append(_best_scale(rest[:, k:k + group], bits))
        scale = scales[-1]
        values[:, k] = _clip(rest[:, k] / scale, bits)
        error = (rest[:, k] - values[:, k] * scale) / inverse[k, k]
        rest[:, k + 1:] -= np.outer(error, inverse[k, k + 1:])
    return Integers(values, np.array(scales).reshape(-1, outputs), group)


def _clip(x, bits):
    return np.clip(np.rint(x), -(1 << bits - 1), (1 << bits - 1) - 1)


def _best_scale(weight, bits):
    """By output, the scale that leaves the smallest square error of weights [N, k] rounded to nearest."""
    scales = np.maximum(np.abs(weight).max(axis=1), 1e-12) / ((1 << bits - 1) - 1) * FRACTIONS[:, None]
    errors = [((_clip(weight / scale[:, None], bits) * scale[:, None] - weight) ** 2).sum(axis=1) for scale in scales]
    return scales[np.argmin(errors, axis=0), np.arange(len(weight))]
