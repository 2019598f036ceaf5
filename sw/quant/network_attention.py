"""The integers of attention in a network: steps of queries, keys and values, and factors of scores.

Queries, keys and values are int16 in units that are powers of two. Attention reads int8, so each
channel is multiplied by a factor of its own that brings it to the channel's step.
"""

from dataclasses import dataclass

import numpy as np

from ...hdl.spec import integer
from ...hdl.spec.integer import round_shift, saturate
from ..model.sequences import Sequences
from .fixed_point import with_common_shift
from .golden import LOWEST

OUTPUT_BITS = 8
"""Bits by which attention's output is finer than the cached values. The largest output, 128 in their
steps, still fits 16 bits."""
NARROWEST = 1 / 64
"""The smallest range of a channel, as a part of the largest of its vector: a smaller one would take
so large a factor that the others lose bits."""


@dataclass(frozen=True)
class Narrowing:
    """Factors, int16 [channels], and a shift in bits: round(x * factor / 2**shift)."""

    factors: np.ndarray
    shift: int

    @classmethod
    def of(cls, factors: np.ndarray) -> "Narrowing":
        """From real factors, float [channels], above 0."""
        (made,), shift = with_common_shift([factors])
        return cls(made, shift)

    def apply(self, x: np.ndarray, bits: int) -> np.ndarray:
        """The products, int64 like x [..., channels], saturated to so many bits."""
        return saturate(round_shift(x * self.factors.astype(np.int64), self.shift), bits)


@dataclass(frozen=True)
class Attention:
    """The integers of one attention.

    `heads`: number of heads. `queries`, `keys`, `values`: bring them to int8. `scores`: by head;
    a score counts 1 / 256 of a factor 2. `output`: from steps of the cached values, divided by
    2**OUTPUT_BITS, to the unit of the result.
    """

    heads: int
    queries: Narrowing
    keys: Narrowing
    values: Narrowing
    scores: Narrowing
    output: Narrowing

    def scored(self, q: np.ndarray, k: np.ndarray, every: Sequences) -> np.ndarray:
        """Scores, int64 [batch, heads, n, n], of int16 queries and keys, [rows, channels]."""
        narrow_q = every.by_head(self.queries.apply(q, 8), self.heads)
        narrow_k = every.by_head(self.keys.apply(k, 8), self.heads)
        # float64 holds these products exactly.
        products = narrow_q.astype(np.float64) @ narrow_k.swapaxes(-1, -2).astype(np.float64)
        factors = self.scores.factors.astype(np.int64)[:, None, None]
        found = saturate(round_shift(products.astype(np.int64) * factors, self.scores.shift), 16)
        return np.where(every.seen, found, LOWEST)

    def averaged(self, weights: np.ndarray, v: np.ndarray, every: Sequences) -> np.ndarray:
        """The result, int64 [rows, channels] of int16 values, of exponentials, [batch, heads, n, n],
        and int16 values, [rows, channels]."""
        narrow = every.by_head(self.values.apply(v, 8), self.heads)
        sums = (weights.astype(np.float64) @ narrow.astype(np.float64)).astype(np.int64)
        mantissa, exponent = integer.reciprocal(weights.sum(axis=-1, keepdims=True))
        made = saturate(round_shift(sums * mantissa, exponent - OUTPUT_BITS), 16)
        return self.output.apply(every.by_row(made), 16)


def exponentials(scores: np.ndarray, every: Sequences) -> np.ndarray:
    """int8 weights, 127 for the largest score of a row, 0 for what is not seen; [batch, heads, n, n]."""
    powers = integer.exp2_negative(scores.max(axis=-1, keepdims=True) - scores)
    return np.where(every.seen, powers, 0)


def attention(heads: int, scale: float, largest: dict[str, np.ndarray], bits: dict[str, int]) -> Attention:
    """The integers of an attention of `heads` heads, whose scores are products times `scale`.

    `largest`: by "queries", "keys" and "values", the largest magnitude of each channel, float
    [channels]. `bits`: by the same names and "output", the n of a unit 2**-n.
    """
    ranges = {
        name: np.maximum(each, max(float(each.max()), 1e-9) * NARROWEST) for name, each in largest.items()
    }
    q, k = (ranges[name].reshape(heads, -1) for name in ("queries", "keys"))
    # A score has one factor for its head, so the product of the steps is the same for all channels. The
    # balance gives both as much as it can; see `heads.head_steps`.
    balance = np.sqrt(k / q)
    steps = {
        "queries": ((q * balance).max(axis=1, keepdims=True) / balance).ravel() / 127,
        "keys": ((k / balance).max(axis=1, keepdims=True) * balance).ravel() / 127,
        "values": ranges["values"] / 127,
    }
    by_head = (steps["queries"] * steps["keys"]).reshape(heads, -1)[:, 0] * scale * np.log2(np.e) * 256
    narrowing = {name: Narrowing.of(2.0 ** -bits[name] / step) for name, step in steps.items()}
    return Attention(
        heads,
        **narrowing,
        scores=Narrowing.of(by_head),
        output=Narrowing.of(steps["values"] * 2.0 ** (bits["output"] - OUTPUT_BITS)),
    )
