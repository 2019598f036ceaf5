"""The quantiser: a float model to the integer model that the tile runs.

Weights are int8 (or int4) with a scale per output channel. Every constant factor on the way (norms, head scales,
1/sqrt(head_dim), log2(e)) goes into the 16-bit factor of an output channel, so that what is left at run time are the
scalars of vectors. Static ranges come from a calibration: the float reference, run on text sampled from the model.
"""

from dataclasses import dataclass

import numpy as np

from .calibrate import calibrate
from .model import Llama, ModelConfig

HEADROOM = 2.0
"""Static int16 ranges are this much wider than the largest value that calibration saw; int8 ranges are not, since
clipping a rare value costs less there than a coarser step for all."""
FRACTION = 4
"""Bits by which queries, keys and values are finer before they become int8."""

BALANCE = 0.5
"""Exponent of key range / query range in the steps of keys: SmoothQuant's alpha (Xiao et al., 2023)."""


@dataclass(frozen=True)
class Linear:
    """A linear operation: y = saturate16(round_shift((weight @ x) * multiplier, shift)).

    `weight`: int8 [N, K]; `multiplier`: int16 [N], not negative; `shift`: 0 to 63.
    """

    weight: np.ndarray
    multiplier: np.ndarray
    shift: int


@dataclass(frozen=True)
class Norm:
    """A norm's constants: u = saturate16(round_shift(x * gain, shift)), gain int16 [dim]."""

    gain: np.ndarray
    shift: int


@dataclass(frozen=True)
class QuantisedLayer:
    """The integer constants of a layer; shifts are bits."""

    attention_norm: Norm
    qkv_shift: int
    """Of qkv's results, after the vector's scalar, into units `FRACTION` bits finer than int8's."""
    key_offset: np.ndarray
    """int16 [n_kv_heads, head_dim], taken from every turned key before it becomes int8.

    What all keys have in common adds the same to all scores, which softmax does not see; without it, int8 has
    smaller steps.
    """
    score_factor: np.ndarray
    """int16 [n_heads]: from q.k to units of 2**-8 of an octave, with `score_shift`."""
    score_shift: int
    value_gain: int
    """Bits by which attention's output is finer than the values it averages."""
    ffn_norm: Norm
    gate_shift: int
    """Of w1's results, after the vector's scalar, into units of 2**-`gate_unit`."""
    gate_unit: int
    hidden_shift: int
    out_shift: int
    """Of w2's results, after both scalars, into the residual's units."""


@dataclass(frozen=True)
class QuantisedModel:
    """Everything the integer model needs. `linears`: by name, in the order of use."""

    config: ModelConfig
    bits: int
    embedding: np.ndarray
    """int8 [vocab, dim], with `embedding_factor` int16 [vocab] and `embedding_shift` to residual units."""
    embedding_factor: np.ndarray
    embedding_shift: int
    residual_unit: int
    """The residual stream counts 2**-residual_unit."""
    square_shift: int
    """Of each square in a norm's sum of squares."""
    epsilon: int
    """Added to that sum."""
    layers: list[QuantisedLayer]
    final_norm: Norm
    logit_unit: float
    """What a logit of 1 with a scalar of 1 is worth."""
    linears: dict[str, Linear]


def quantise(model: Llama, bits: int = 8, seed: int = 0) -> QuantisedModel:
    """The integer model of a float model, calibrated on text that the float model writes with `seed`."""
    return _Quantiser(model, bits, calibrate(model, seed)).run()


class _Quantiser:
    """One pass over the model; `ranges` are calibrate's."""

    def __init__(self, model, bits, ranges):
        self.model, self.bits, self.ranges = model, bits, ranges
        self.linears: dict[str, Linear] = {}
        config = model.config
        self.residual_unit = _unit(ranges["x"])
        # The squares of dim values of 16 bits add up to no more than 31 bits.
        self.square_shift = max(0, (config.dim - 1).bit_length() - 1)
        self.root = np.sqrt(config.dim / 2.0**self.square_shift)

    def run(self):
        model, config = self.model, self.model.config
        layers = [self._layer(index, layer) for index, layer in enumerate(model.layers)]
        final_norm, constant = self._norm("final", model.final_norm)
        bare = float(self.ranges["logits.y"])
        self._linear("classifier", model.classifier, np.full(config.vocab_size, 16384 / bare))
        embedding, scale = self._weights(model.embedding, 8)
        factor, shift = _factors(scale * 2.0**self.residual_unit)
        epsilon = config.norm_eps * config.dim * 4.0**self.residual_unit / 2.0**self.square_shift
        return QuantisedModel(
            config=config, bits=self.bits, embedding=embedding, embedding_factor=factor, embedding_shift=shift,
            residual_unit=self.residual_unit, square_shift=self.square_shift, epsilon=max(1, round(epsilon)),
            layers=layers, final_norm=final_norm, logit_unit=float(constant * bare / 16384), linears=self.linears,
        )

    def _layer(self, index, layer):
        config, ranges = self.model.config, self.ranges
        norm, constant = self._norm(f"{index}.attention", layer.attention_norm)
        steps = self._head_steps(index)
        per_row = np.concatenate([steps[name].ravel() for name in "qkv"])
        # Results before the scalar are 2**qkv_shift finer than what follows it.
        wanted = constant * 2.0**FRACTION / per_row
        largest = max(float(np.max(ranges[f"{index}.{name}.y"] / steps[name])) for name in "qkv")
        largest *= 2.0**FRACTION * constant
        qkv_shift = _unit(largest)
        self._linear(f"layers.{index}.qkv", np.concatenate([layer.wq, layer.wk, layer.wv]),
                     wanted * 2.0**qkv_shift)
        group = config.n_heads // config.n_kv_heads
        # A step of q times a step of k is the same for all channels of a head.
        score = (steps["q"] * steps["k"].repeat(group, axis=0))[:, 0] / np.sqrt(config.head_dim) * np.log2(np.e) * 256
        score_factor, score_shift = _factors(score)
        value = steps["v"].repeat(group, axis=0)
        gain = int(np.floor(np.log2(np.min(127 * value / np.maximum(ranges[f"{index}.o"], 1e-9)))))
        gain = max(0, min(gain, 4))
        self._linear(f"layers.{index}.wo", layer.wo * (value / 2.0**gain).ravel(),
                     np.full(config.dim, 2.0**self.residual_unit))
        ffn, constant = self._norm(f"{index}.ffn", layer.ffn_norm)
        gate_unit = max(6, min(11, _unit(ranges[f"{index}.a"] / HEADROOM * 1.1)))
        bare = {name: float(ranges[f"{index}.{name}.y"]) for name in "ab"}
        gate_shift = _unit(bare["a"] * constant * 2.0**gate_unit)
        b_unit = 2.0 ** _unit(bare["b"])
        self._linear(f"layers.{index}.w13", np.concatenate([layer.w1, layer.w3]), np.concatenate([
            np.full(config.hidden_dim, constant * 2.0 ** (gate_unit + gate_shift)),
            np.full(config.hidden_dim, b_unit)]))
        hidden_unit = _unit(float(ranges[f"{index}.h.bare"]))
        hidden_shift = gate_unit + int(np.log2(b_unit)) - hidden_unit
        # h counts constant * 2**-hidden_unit times the norm's scalar.
        out = constant * 2.0**-hidden_unit * 2.0**self.residual_unit
        out_unit = _unit(float(ranges[f"{index}.out.y"]))
        shift = out_unit - int(np.ceil(np.log2(out)))
        self._linear(f"layers.{index}.w2", layer.w2, np.full(config.dim, out * 2.0**shift))
        return QuantisedLayer(
            attention_norm=norm, qkv_shift=qkv_shift, key_offset=self._key_offset(index, steps),
            score_factor=score_factor, score_shift=score_shift, value_gain=gain, ffn_norm=ffn, gate_shift=gate_shift,
            gate_unit=gate_unit, hidden_shift=hidden_shift, out_shift=shift,
        )

    def _key_offset(self, index, steps):
        """The middle of what each channel of the turned keys was seen to be."""
        middle = (self.ranges[f"{index}.k.high"] - self.ranges[f"{index}.k.low"]) / 2
        return np.clip(np.rint(middle / steps["k"] * 2.0**FRACTION), -32768, 32767).astype(np.int16)

    def _head_steps(self, index):
        """What a step of int8 is worth in queries, keys and values: by head and channel, [heads, head_dim] each.

        A channel of values has its own step. Keys and queries turn in pairs, so a pair of channels has one step, and the
        product of a query's step and a key's is the same for all pairs of a head: what makes the keys of a pair
        finer makes its queries coarser. In which proportion, `BALANCE` says.
        """
        config = self.model.config
        group = config.n_heads // config.n_kv_heads
        largest = {name: np.maximum(self.ranges[f"{index}.{name}"], 1e-9) for name in "qv"}
        spread = np.maximum(self.ranges[f"{index}.k.high"] + self.ranges[f"{index}.k.low"], 1e-9) / 2
        q, k = (x.reshape(len(x), -1, 2).max(axis=2) for x in (largest["q"], spread))
        balance = (k / q.reshape(len(k), group, -1).max(axis=1)) ** BALANCE
        k = (k / balance).max(axis=1, keepdims=True) * balance
        balance = balance.repeat(group, axis=0)
        q = (q * balance).max(axis=1, keepdims=True) / balance
        return {name: step / 127
                for name, step in (("q", q.repeat(2, axis=1)), ("k", k.repeat(2, axis=1)), ("v", largest["v"]))}

    def _norm(self, name, gain):
        """A norm's constants, and what a vector's scalar of 1 is worth: what follows it multiplies by that."""
        exponent = 14 - int(np.ceil(np.log2(np.abs(gain).max())))
        largest = float(self.ranges[f"{name}.gained"]) * 2.0 ** (self.residual_unit + exponent)
        shift = max(0, -_unit(largest))
        constant = 2.0 ** (shift - exponent) * self.root
        return Norm(np.rint(gain * 2.0**exponent).astype(np.int16), shift), constant

    def _linear(self, name, weight, factor):
        """Adds an operation whose results are `factor` times the product with integer inputs."""
        integers, scale = self._weights(weight, self.bits)
        multiplier, shift = _factors(scale * factor)
        self.linears[name] = Linear(integers, multiplier, shift)

    def _weights(self, weight, bits):
        limit = (1 << bits - 1) - 1
        scale = np.maximum(np.abs(weight).max(axis=1), 1e-12) / limit
        return np.rint(weight / scale[:, None]).astype(np.int8), scale


def _unit(largest):
    """The finest binary unit 2**-n in which `largest`, with headroom, fits 16 bits: n."""
    return int(np.floor(np.log2(32767 / (HEADROOM * max(float(largest), 1e-9)))))


def _factors(factor):
    """int16 multipliers and the common shift that make factors (float [N]): the largest uses all 15 bits."""
    shift = int(np.clip(14 - np.ceil(np.log2(np.max(factor))), 0, 47))
    multiplier = np.minimum(np.rint(factor * 2.0**shift), 32767)
    return multiplier.astype(np.int16), shift

