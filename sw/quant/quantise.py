"""The quantiser: a float model to the integer model that the tile runs.

Weights are int8 with a scale per output channel, or int4 with one per output channel and group of input channels. Every
constant factor on the way (norms, head scales, 1/sqrt(head_dim), log2(e)) goes into these 16-bit factors, so that what is
left at run time are the scalars of vectors. Static ranges, and what GPTQ needs to know of the inputs, come from a
calibration: the float reference, run on text sampled from the model.
"""

from dataclasses import dataclass

import numpy as np

from ...hdl.spec.integer import GATE_UNIT, MANTISSA_BITS, SQUARE_SHIFT
from ..model.model import Llama, ModelConfig
from .calibrate import calibrate
from .gptq import Integers, gptq, nearest, on_grid

HEADROOM = 2.0
"""Static int16 ranges are this much wider than the largest value that calibration saw; int8 ranges are not, since
clipping a rare value costs less there than a coarser step for all."""
FRACTION = 4
"""Bits by which queries and keys are finer before they become int8."""

BALANCE = 0.5
"""Exponent of key range / query range in the steps of keys: SmoothQuant's alpha (Xiao et al., 2023)."""


GROUP = 16
"""Inputs that share a scale where weights have 4 bits and lie on no grid of their own."""


@dataclass(frozen=True)
class Linear:
    """A linear operation on int8 inputs, in 16 bits: y = saturate(round_shift((weight @ x) * multiplier, shift)).

    `weight`: int8 [N, K]; `multiplier`: int16 [groups, N], not negative, or [1, 1] if it is the same for all outputs;
    `group`: inputs that a multiplier is for; `shift`: 0 to 47, or less by 15 where the vector's scalar adds its exponent.

    With several groups their parts are added up one after another, each rounded and the sum saturated. `rescale` then is the
    shift of the vector's scalar, which multiplies the sum; of one group the scalar multiplies the multipliers.
    """

    weight: np.ndarray
    multiplier: np.ndarray
    shift: int
    group: int
    rescale: int = 0

    @property
    def groups(self) -> int:
        return len(self.multiplier)

    @property
    def factors(self) -> np.ndarray:
        """The multiplier of every output: int16 [groups, N]."""
        return np.broadcast_to(self.multiplier, (self.groups, len(self.weight)))


@dataclass(frozen=True)
class QuantisedLayer:
    """The vectors of a layer; its matrices are in `QuantisedModel.linears`.

    `attention_gain`, `ffn_gain`: int16 [dim], or [1], which is 1, of a norm without gains. `key_offset`: int16
    [n_kv_heads, head_dim], added to every turned key in units of int8: what all keys have in common adds the same to all
    scores, which softmax does not see, and without it int8 has smaller steps. `score_factor`: int16 [n_heads], from q.k
    to 2**-8 of an octave.
    """

    attention_gain: np.ndarray
    key_offset: np.ndarray
    score_factor: np.ndarray
    ffn_gain: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Shifts:
    """Bits taken off on the way, the same in every layer: the program is one loop over layers."""

    embedding: int
    attention_norm: int
    ffn_norm: int
    final_norm: int
    score: int
    value_gain: int
    """Bits by which attention's output is finer than the values it averages."""
    hidden: int
    """Of silu(gate) * up."""
    logit_scale: int
    """Of 2**14 times the last scalar, which becomes an int16."""


@dataclass(frozen=True)
class QuantisedModel:
    """Everything the integer model needs. `linears`: by name, in the order of use.

    `embedding`: int8 [vocab, dim], with `embedding_factor` int16 [groups, vocab] for groups of `embedding_group` values, into
    units of 2**-`residual_unit`; the classifier's if the model is tied. It is [1, 1] if it is the same for all tokens.
    `epsilon`: added to a norm's sum of squares. `final_gain`: as those of a layer.
    """

    config: ModelConfig
    bits: int
    embedding: np.ndarray
    embedding_factor: np.ndarray
    embedding_group: int
    residual_unit: int
    epsilon: int
    shifts: Shifts
    layers: list[QuantisedLayer]
    final_gain: np.ndarray
    logit_unit: float
    """What a logit of 1 with a scale of 1 is worth."""
    linears: dict[str, Linear]

    @property
    def groups(self) -> dict[str, int]:
        """By matrix of a layer, "classifier" and "embedding": how many inputs are in a group, where not all are."""
        groups = {name.rpartition(".")[2]: linear.group for name, linear in self.linears.items() if linear.groups > 1}
        return groups | ({"embedding": self.embedding_group} if len(self.embedding_factor) > 1 else {})

    @property
    def alike(self) -> frozenset[str]:
        """Of the same matrices those that have one factor for all outputs, and of `attention_gain`, `ffn_gain` and `final_gain`
        those of norms without gains."""
        values = {name.rpartition(".")[2]: linear.multiplier for name, linear in self.linears.items()} | {
            "embedding": self.embedding_factor, "final_gain": self.final_gain,
            **{name: getattr(layer, name) for layer in self.layers for name in ("attention_gain", "ffn_gain")}}
        return frozenset(name for name, value in values.items() if value.size == 1)

    @property
    def embedding_factors(self) -> np.ndarray:
        """The factor of every token: int16 [groups, vocab]."""
        return np.broadcast_to(self.embedding_factor, (len(self.embedding_factor), self.config.vocab_size))


def quantise(model: Llama, bits: int = 8, seed: int = 0, group: int = GROUP) -> QuantisedModel:
    """The integer model of a float model, calibrated on text that the float model writes with `seed`.

    Weights of 4 `bits` that lie on a grid (of a whole row, or of groups) stay as they are; others are rounded by GPTQ in
    groups of `group` inputs, a power of two, which the tile's rows have to divide.
    """
    return _Quantiser(model, bits, group, calibrate(model, seed, moments=bits == 4)).run()


class _Quantiser:
    """One pass over the model; `ranges` are calibrate's."""

    def __init__(self, model, bits, group, ranges):
        self.model, self.bits, self.group, self.ranges = model, bits, group, ranges
        config = model.config
        self.residual_unit = _unit(ranges["x"])
        # A norm divides by the root of the mean square, and the sum of squares lacks SQUARE_SHIFT bits.
        self.root = np.sqrt(config.dim / 2.0**SQUARE_SHIFT)

    def run(self):
        model, config = self.model, self.model.config
        layers = range(config.n_layers)
        linears = {}
        attention, attention_norm, constant = self._norms([f"{i}.attention" for i in layers],
                                                          [layer.attention_norm for layer in model.layers])
        steps = [self._head_steps(index) for index in layers]
        qk = self._linears(
            "qk", [np.concatenate([layer.wq, layer.wk]) for layer in model.layers],
            [constant * 2.0**FRACTION / np.concatenate([step[name].ravel() for name in "qk"]) for step in steps],
            inputs="attention.y", scaled=True)
        v = self._linears("v", [layer.wv for layer in model.layers],
                          [constant / _shortest(step["v"].ravel()) for step in steps], inputs="attention.y", scaled=True)
        scores, score_shift = _common([self._score_factors(step) for step in steps])
        gain = self._value_gain(steps)
        group = config.n_heads // config.n_kv_heads
        unit = [(step["v"].repeat(group, axis=0) / 2.0**gain).ravel() for step in steps]
        wo = self._linears(
            "wo", [layer.wo * step for layer, step in zip(model.layers, unit, strict=True)],
            [2.0**self.residual_unit] * config.n_layers, inputs="o", unit=unit)
        ffn, ffn_norm, constant = self._norms([f"{i}.ffn" for i in layers], [layer.ffn_norm for layer in model.layers])
        up_unit = _unit(max(float(self.ranges[f"{i}.b"]) for i in layers))
        hidden_unit = _unit(max(float(self.ranges[f"{i}.h"]) for i in layers))
        w1, w3 = (self._linears(name, [getattr(layer, name) for layer in model.layers],
                                [constant * 2.0**unit] * config.n_layers, inputs="ffn.y", scaled=True)
                  for name, unit in (("w1", GATE_UNIT), ("w3", up_unit)))
        w2 = self._linears(
            "w2", [layer.w2 for layer in model.layers],
            [2.0 ** (self.residual_unit - hidden_unit)] * config.n_layers, inputs="h", scaled=True)
        for layer in zip(qk, v, wo, w1, w3, w2, strict=True):
            for operation in layer:
                linears.update(operation)
        (final,), final_norm, constant = self._norms(["final"], [model.final_norm])
        bare = float(self.ranges["logits.y"])
        linears.update(*self._linears("classifier", [model.classifier], [16384 / bare], inputs="final.y"))
        classifier = linears["classifier"]
        if config.tied:
            embedding = Integers(classifier.weight, classifier.multiplier * 2.0**-classifier.shift * bare / 16384,
                                 classifier.group)
        else:
            (embedding,) = self._integers([model.embedding], [np.eye(config.dim)], [2 * self.group, self.group])
        (factor,), embedding_shift = _common([embedding.scale * 2.0**self.residual_unit])
        largest = float(self.ranges["final.scalar"]) / constant
        logit_scale = int(np.ceil(np.log2(largest))) + 1
        epsilon = config.norm_eps * config.dim * 4.0**self.residual_unit / 2.0**SQUARE_SHIFT
        return QuantisedModel(
            config=config, bits=self.bits, embedding=embedding.values, embedding_factor=factor,
            embedding_group=embedding.group, residual_unit=self.residual_unit, epsilon=int(np.clip(round(epsilon), 1, 65535)),
            shifts=Shifts(
                embedding=embedding_shift, attention_norm=attention_norm, ffn_norm=ffn_norm, final_norm=final_norm,
                score=score_shift, value_gain=gain, hidden=GATE_UNIT + up_unit - hidden_unit, logit_scale=logit_scale),
            layers=[QuantisedLayer(attention[i], self._key_offset(i, steps[i]), scores[i], ffn[i]) for i in layers],
            final_gain=final, logit_unit=float(constant * bare / 16384 * 2.0 ** (logit_scale - 14)), linears=linears,
        )

    def _score_factors(self, steps):
        """What q.k of a head is worth, in units of 2**-8 of an octave, by head."""
        config = self.model.config
        group = config.n_heads // config.n_kv_heads
        # A step of q times a step of k is the same for all channels of a head.
        return (steps["q"] * steps["k"].repeat(group, axis=0))[:, 0] / np.sqrt(config.head_dim) * np.log2(np.e) * 256

    def _value_gain(self, steps):
        """As many bits as leave room for the largest output of attention in every layer, up to 4."""
        config = self.model.config
        group = config.n_heads // config.n_kv_heads
        room = min(np.min(127 * step["v"].repeat(group, axis=0) / np.maximum(self.ranges[f"{index}.o"], 1e-9))
                   for index, step in enumerate(steps))
        return max(0, min(int(np.floor(np.log2(room))), 4))

    def _key_offset(self, index, steps):
        """The middle of what each channel of the turned keys was seen to be, taken off."""
        middle = (self.ranges[f"{index}.k.high"] - self.ranges[f"{index}.k.low"]) / 2
        return np.clip(np.rint(-middle / steps["k"]), -32768, 32767).astype(np.int16)

    def _head_steps(self, index):
        """What a step of int8 is worth in queries, keys and values: by head and channel, [heads, head_dim] each.

        A channel of values has its own step, where weights have 8 bits. Keys and queries turn in pairs, so a pair of channels
        has one step, and the product of a query's step and a key's is the same for all pairs of a head: what makes the keys
        of a pair finer makes its queries coarser. In which proportion, `BALANCE` says.
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
        if self.bits == 4:
            # One step for all values of a layer: what stands on a grid in wo stays there.
            largest["v"] = np.full_like(largest["v"], largest["v"].max())
        return {name: step / 127
                for name, step in (("q", q.repeat(2, axis=1)), ("k", k.repeat(2, axis=1)), ("v", largest["v"]))}

    def _norms(self, names, gains):
        """Gains of norms as int16, their shift, and what a vector's scalar of 1 is worth: what follows multiplies by that.

        Norms without gains take their vectors as they are."""
        if all((gain == 1).all() for gain in gains):
            return [np.ones(1, np.int16)] * len(gains), 0, self.root
        exponent = 14 - int(np.ceil(np.log2(max(np.abs(gain).max() for gain in gains))))
        largest = max(float(self.ranges[f"{name}.gained"]) for name in names) * 2.0 ** (self.residual_unit + exponent)
        shift = max(0, -_unit(largest))
        return [np.rint(gain * 2.0**exponent).astype(np.int16) for gain in gains], shift, 2.0 ** (shift - exponent) * self.root

    def _linears(self, name, weights, factors, *, inputs, unit=None, scaled=False):
        """Operations, one a layer, whose results are `factors` times the product with integer inputs: one, or one an output.

        Those that are `scaled` are multiplied by their input's scalar besides. `inputs` is what calibration calls the inputs,
        `unit` what an integer of them is worth where that is not the same for all.
        """
        layered = name != "classifier"
        names = [f"layers.{index}.{name}" for index in range(len(weights))] if layered else [name]
        moments = [self._moment(f"{index}.{inputs}" if layered else inputs, 1 if unit is None else unit[index])
                   for index in range(len(weights))]
        # A group of what follows the attention is a head, wherever the tile has it.
        made = self._integers(weights, moments, [self.model.config.head_dim] if name == "wo" else [2 * self.group, self.group])
        factors = [integers.scale * factor for integers, factor in zip(made, factors, strict=True)]
        rescale = 0
        if scaled and len(made[0].scale) > 1:
            # No sum of parts saturates, whatever the inputs.
            rescale = min(_most(integers, factor) for integers, factor in zip(made, factors, strict=True))
            factors, scaled = [factor * 2.0**rescale for factor in factors], False
        multipliers, shift = _common(factors)
        if not all(multiplier.size == 1 for multiplier in multipliers):
            multipliers = [np.broadcast_to(multiplier, (len(multiplier), len(integers.values)))
                           for integers, multiplier in zip(made, multipliers, strict=True)]
        return [{name: Linear(integers.values, multiplier, shift - MANTISSA_BITS * scaled, integers.group, rescale)}
                for name, integers, multiplier in zip(names, made, multipliers, strict=True)]

    def _moment(self, name, unit):
        """Sums of products of a matrix's integer inputs, or None where rounding does not look at them."""
        return self.ranges[f"{name}.moment"] / np.outer(unit, unit) if self.bits == 4 else None

    def _integers(self, weights, moments, groups):
        """Matrices, one a layer, as integers, with the same groups in all layers: the first that keep the weights as they are,
        or else the last."""
        if self.bits == 8:
            return [nearest(weight, self.bits) for weight in weights]
        for group in (weights[0].shape[1], *groups):
            found = [on_grid(weight, self.bits, group) for weight in weights]
            if None not in found:
                return found
        return [gptq(weight, moment, self.bits, group) for weight, moment in zip(weights, moments, strict=True)]


def _most(integers, factor):
    """The finest binary unit 2**-n in which no sum of parts of int8 inputs leaves 16 bits: n."""
    sums = np.add.reduceat(np.abs(integers.values.astype(np.int64)), range(0, integers.values.shape[1], integers.group), axis=1)
    return int(np.floor(np.log2(32767 / (128 * (sums.T * factor).sum(axis=0).max()))))


def _shortest(factors):
    """Factors of outputs, or the first, if all are the same."""
    return factors[:1] if np.ptp(factors) == 0 else factors


def _unit(largest):
    """The finest binary unit 2**-n in which `largest`, with headroom, fits 16 bits: n."""
    return int(np.floor(np.log2(32767 / (HEADROOM * max(float(largest), 1e-9)))))


def _common(factors):
    """int16 multipliers and the one shift that makes them factors (float arrays): the largest uses all 15 bits."""
    shift = int(np.clip(14 - np.ceil(np.log2(max(np.max(factor) for factor in factors))), 0, 47))
    return [np.minimum(np.rint(factor * 2.0**shift), 32767).astype(np.int16) for factor in factors], shift
