"""The integers of attention: steps of queries, keys and values, offsets, factors of scores, and gains of norms."""

from collections.abc import Mapping, Sequence

import numpy as np

from ...hdl.spec.integer import HEAD_ROOT_SHIFT
from ..model.config import ModelConfig
from ..model.graph import Operation
from ..model.model import Model, full_name
from .fixed_point import HEADROOM, one_if_equal, with_common_shift
from .model import FRACTION

BALANCE = 0.5
"""The exponent in step of keys ~ (key range / query range)**BALANCE, by pair of channels. It is
SmoothQuant's alpha (Xiao et al., 2023, arXiv 2211.10438)."""
CACHE_STEPS = {8: 127, 4: 7.5}
"""Steps from 0 to the largest key or value in calibration, by the bits that the cache has for it. With 4 bits half a step
more than the largest integer: what is rounded to 8 saturates, and all others gain. Measured in docs/integers.md."""
KEY_STEPS = {8: 127, 4: 9}
"""The same for keys without offsets (`integer_graph.keys_at_once`), of which few are as large as the largest."""
SHORT_HEADROOM = 1.1
"""Queries and keys of a model with a balanced residual may be this many times as large as in calibration:
such models are large, and so their calibration sees few tokens. Measured on SmolLM2 (docs/integers.md)."""


def head_steps(config: ModelConfig, largest: np.ndarray, high: np.ndarray, low: np.ndarray,
               key_steps: float) -> tuple[np.ndarray, np.ndarray]:
    """The int8 steps of queries, [n_heads, head_dim], and the steps of keys in the cache, [n_kv_heads, head_dim].

    `largest`, `high`, `low`: the largest magnitude of each channel of queries and then keys, its
    largest value, and the largest of its negative, [n_heads + n_kv_heads, head_dim]. `key_steps`: steps from 0 to the
    largest key.

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
    return q.repeat(2, axis=1) / 127, k.repeat(2, axis=1) / key_steps


def score_integers(config: ModelConfig, ranges: Mapping[str, np.ndarray], source: str,
                   cache_bits: int, headroom: float = 1.0,
                   centred: bool = True) -> tuple[list[np.ndarray], dict[str, np.ndarray], int]:
    """(units of queries and keys before they have 8 bits, or `cache_bits`, vectors, the shift of scores).

    The units are float64 [heads * head_dim] for each layer; the vectors are the factors of scores and
    the offsets of keys, see `QuantisedModel`. `ranges`: of a calibration; `source`: the queries with
    the keys. `headroom`: how many times as large as in calibration they may be. `centred`: keys have offsets.
    """
    group, layers = config.n_heads // config.n_kv_heads, range(config.n_layers)
    sides, key_steps = (("", ".high", ".low"), CACHE_STEPS) if centred else (("", "", ""), KEY_STEPS)
    steps = [head_steps(config, *(headroom * ranges[f"{layer}.{source}{side}"] for side in sides), key_steps[cache_bits])
             for layer in layers]
    units = [np.concatenate([q.ravel(), k.ravel()]) / 2.0**FRACTION for q, k in steps]
    # (step of q) * (step of k) is the same for all channels of a head. exp(s) = 2**(s * log2(e)), in
    # units of 2**-8.
    score_steps = [(q * k.repeat(group, axis=0))[:, 0] / np.sqrt(config.head_dim) * np.log2(np.e) * 256 for q, k in steps]
    factors, shift = with_common_shift(score_steps)
    vectors = {}
    for layer, (factor, (_, k)) in enumerate(zip(factors, steps, strict=True)):
        vectors[f"layers.{layer}.score"] = factor
        if not centred:
            continue
        high, low = (ranges[f"{layer}.{source}.{side}"][config.n_heads:] for side in ("high", "low"))
        offset = np.clip(np.rint(-((high - low) / 2) / k), -32768, 32767).astype(np.int16)
        vectors[f"layers.{layer}.key_offset"] = offset
    return units, vectors, shift


def value_integers(config: ModelConfig, ranges: Mapping[str, np.ndarray], source: str, output: str,
                   uniform: bool, cache_bits: int) -> tuple[list[np.ndarray], list[np.ndarray], int]:
    """(units of the cached values, units of attention's output, the shift of VALUES), for each layer.

    The output's steps are those of the values, divided by 2**shift. `ranges`: of a calibration;
    `source`, `output`: names of the values and of the output. `uniform`: one step for all values of a
    layer.
    """
    group, layers = config.n_heads // config.n_kv_heads, range(config.n_layers)
    largest = [np.maximum(ranges[f"{layer}.{source}"], 1e-9) for layer in layers]
    if uniform:
        largest = [np.full_like(each, each.max()) for each in largest]
    steps = [each / CACHE_STEPS[cache_bits] for each in largest]
    # As many bits as leave room for the largest output in every layer, up to 4.
    room = min(np.min(127 * step.repeat(group, axis=0) / np.maximum(ranges[f"{layer}.{output}"], 1e-9))
               for layer, step in enumerate(steps))
    gain = max(0, min(int(np.floor(np.log2(room))), 4))
    return ([one_if_equal(step.ravel()) for step in steps],
            [(step.repeat(group, axis=0) / 2.0**gain).ravel() for step in steps], gain)


def head_units(ranges: Mapping[str, np.ndarray], layer: int, operation: Operation) -> np.ndarray:
    """The unit of queries and keys before a HEAD_NORM, one a head, by channel: float64 [heads * head_dim].

    `ranges`: of a calibration. The norm undoes the size of a head, so it may have any unit.
    """
    largest = ranges[f"{layer}.{operation.inputs[0]}"]
    unit = np.maximum(largest.max(axis=1, keepdims=True), 1e-9) * HEADROOM / 32767
    return np.broadcast_to(unit, largest.shape).ravel()


def head_gains(model: Model, operation: Operation, units: Sequence[np.ndarray]) -> tuple[dict[str, np.ndarray], int]:
    """({full name: int16 gains [heads, head_dim]}, shift) of a HEAD_NORM.

    `units`: of its result's channels, [heads * head_dim], for each layer. A normalised value counts the
    unit of `integer.normalised`. The norm's epsilon is left out: it would matter for heads whose root
    mean square is near its root.
    """
    config = model.config
    counts, unit = (config.n_heads, config.n_kv_heads), 2.0**HEAD_ROOT_SHIFT * np.sqrt(config.head_dim / 2.0**15)
    factors = []
    for layer, made in enumerate(units):
        gains = [np.tile(gain, (count, 1)) for gain, count in zip(model.of(operation, layer), counts, strict=True)]
        factors.append(np.concatenate(gains) * unit / made.reshape(-1, config.head_dim))
    sizes, shift = with_common_shift([np.abs(factor) for factor in factors])
    return {full_name(operation.name, layer): size * np.sign(factor).astype(np.int16)
            for layer, (size, factor) in enumerate(zip(sizes, factors, strict=True))}, shift
