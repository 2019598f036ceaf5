"""The int8 steps of queries and keys."""

import numpy as np

from ..model.config import ModelConfig

BALANCE = 0.5
"""The exponent in step of keys ~ (key range / query range)**BALANCE, by pair of channels. It is
SmoothQuant's alpha (Xiao et al., 2023, arXiv 2211.10438)."""


def head_steps(config: ModelConfig, largest: np.ndarray, high: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The int8 steps of queries, [n_heads, head_dim], and of keys, [n_kv_heads, head_dim].

    `largest`, `high`, `low`: the largest magnitude of each channel of queries and then keys, its
    largest value, and the largest of its negative, [n_heads + n_kv_heads, head_dim].

    Rotary embedding turns channels in pairs, so both channels of a pair have one step. A score has
    one factor for its head, so (step of q) * (step of k) must be the same for all pairs of a head:
    finer steps for the keys of a pair mean coarser steps for its queries. `BALANCE` divides the
    precision between the two.
    """
    group = config.n_heads // config.n_kv_heads
    largest = np.maximum(largest[:config.n_heads], 1e-9)
    spread = np.maximum(high[config.n_heads:] + low[config.n_heads:], 1e-9) / 2
    q, k = (x.reshape(len(x), -1, 2).max(axis=2) for x in (largest, spread))
    balance = (k / q.reshape(len(k), group, -1).max(axis=1)) ** BALANCE
    k = (k / balance).max(axis=1, keepdims=True) * balance
    balance = balance.repeat(group, axis=0)
    q = (q * balance).max(axis=1, keepdims=True) / balance
    return q.repeat(2, axis=1) / 127, k.repeat(2, axis=1) / 127
