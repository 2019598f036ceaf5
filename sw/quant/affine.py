"""Weights of 4 bits with an offset: a weight is value * step + offset, with a step and an offset for each
output and group of inputs.

The blocks of the file format Q4_1 are such groups, and those of Q4_0, so their weights keep their values.
Others are rounded by GPTQ (see `gptq.py`). A product with the offsets is one with the sums of the groups' inputs:
the tile makes these sums once for each vector, and they are inputs of the matrix like the others. An offset
has 8 bits, in two columns of 4 bits: the sums stand behind the vector twice.
"""

from dataclasses import dataclass

import numpy as np

from ...hdl.spec.integer import signed_halves
from .gptq import FRACTIONS, ON_GRID, damped_inverse

LEAST, MOST = -8, 7
"""The smallest and the largest value of 4 bits."""
MOST_OFFSET = 119
"""The largest offset, in steps: 16 * 7 + 7."""


@dataclass(frozen=True)
class Affine:
    """A matrix [N outputs, K inputs]: the weights of input k are values[:, k] * step[k // group] + offset[k //
    group]. `values`: int8 [N, K]; `step`, `offset`: float64 [groups, N]. `group`: inputs of a group; the last one
    may have fewer."""

    values: np.ndarray
    step: np.ndarray
    offset: np.ndarray
    group: int


def on_affine_grid(weight: np.ndarray, group: int) -> Affine | None:
    """A matrix, float [N, K], without rounding error, or None if a group of it has no step of which the differences of
    its weights are integer multiples up to 15."""
    values, steps, offsets = np.zeros(weight.shape, np.int8), [], []
    for start in range(0, weight.shape[1], group):
        part = weight[:, start:start + group].astype(np.float64)
        least, spread = part.min(axis=1), np.ptp(part, axis=1)
        count = np.zeros(len(part), int)
        for many in range(MOST - LEAST, 0, -1):
            rest = np.flatnonzero(count == 0)
            whole = (part[rest] - least[rest, None]) * (many / np.maximum(spread[rest], 1e-30))[:, None]
            count[rest[(np.abs(whole - np.rint(whole)) < ON_GRID).all(axis=1)]] = many
        if not count.all():
            return None
        step = np.maximum(spread, 1e-12) / count
        # The value 0 stands for the multiple of the step that is nearest to 0, as far as the others have room.
        zero = np.clip(np.rint(-least / step), count - MOST, -LEAST)
        values[:, start:start + group] = np.rint((part - least[:, None]) / step[:, None] - zero[:, None])
        steps.append(step)
        offsets.append(least + zero * step)
    return Affine(values, np.array(steps), np.array(offsets), group)


def affine_gptq(weight: np.ndarray, moment: np.ndarray, group: int) -> Affine:
    """Rounds weights, float [N, K], with error compensation; see `gptq`.

    `moment`: float64 [K, K], the sums of products of the inputs (X.T @ X), from calibration.
    """
    rest, inverse = weight.astype(np.float64), damped_inverse(moment)
    values, steps, offsets = np.zeros(weight.shape, np.int8), [], []
    for start in range(0, weight.shape[1], group):
        end = min(start + group, weight.shape[1])
        step, offset = _best_grid(rest[:, start:end])
        steps.append(step)
        offsets.append(offset)
        errors = np.zeros((len(weight), end - start))
        for k in range(start, end):
            values[:, k] = np.clip(np.rint((rest[:, k] - offset) / step), LEAST, MOST)
            error = errors[:, k - start] = (rest[:, k] - values[:, k] * step - offset) / inverse[k, k]
            rest[:, k + 1:end] -= np.outer(error, inverse[k, k + 1:end])
        rest[:, end:] -= errors @ inverse[start:end, end:]
    return Affine(values, np.array(steps), np.array(offsets), group)


def _best_grid(weight):
    """(step, offset) of each output, float64 [N], with the smallest squared error of weights [N, k] rounded to nearest."""
    middle, spread = (weight.max(axis=1) + weight.min(axis=1)) / 2, np.maximum(np.ptp(weight, axis=1), 1e-12)
    best, found = None, (None, None)
    for fraction in FRACTIONS[FRACTIONS <= 1]:
        step = spread * fraction / (MOST - LEAST)
        offset = middle + step / 2
        rounded = np.clip(np.rint((weight - offset[:, None]) / step[:, None]), LEAST, MOST)
        error = ((rounded * step[:, None] + offset[:, None] - weight) ** 2).sum(axis=1)
        if best is None:
            best, found = error, (step, offset)
        else:
            found = tuple(np.where(error < best, new, old) for new, old in zip((step, offset), found, strict=True))
            best = np.minimum(error, best)
    return found


def with_offsets(made: Affine, sums_unit: float, factor: float | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The matrix that a JOIN's result is multiplied by, int8 [N, inputs], and the real factors of its groups: those of
    steps, float64 [groups, N], and those of offsets.

    `sums_unit`: the real value of 1 of the sums, where an input is worth 1. `factor`: what the results are multiplied
    by, a number or float [N].
    """
    groups, group = len(made.step), made.group
    offset_step = np.maximum(np.abs(made.offset).max(axis=0), 1e-12) / MOST_OFFSET
    offsets = np.rint(made.offset / offset_step).astype(np.int64).T
    parts = [np.pad(part, ((0, 0), (0, -part.shape[1] % group))) for part in (made.values, *signed_halves(offsets))]
    several = -(-groups // group)
    coarse, fine = offset_step * factor * sums_unit * 16, offset_step * factor * sums_unit
    return (np.concatenate(parts, axis=1).astype(np.int8), made.step * factor,
            np.concatenate([np.tile(coarse, (several, 1)), np.tile(fine, (several, 1))]))
