"""The golden integer model: the definition of every result.

A Llama decoder step in the arithmetic of `marey.hdl.spec.integer`. Vectors in memory are int16, inputs of matrix
products int8, accumulators int32. A factor common to a whole vector (the 1/rms of a norm, the step of dynamic
quantisation) is a scalar that is applied after the matrix product that follows: linear operations let it through.
"""

import numpy as np

from ...hdl.spec import integer
from ...hdl.spec.integer import matvec, multiply, round_shift, saturate
from .quantise import FRACTION, Linear, QuantisedModel


def linear(operation: Linear, x: np.ndarray, scalar=None, plus: np.ndarray | int = 0) -> np.ndarray:
    """int8 inputs [..., K], with their scalar if they have one, to int16 results [..., N], added to `plus`."""
    factors, shift = operation.multiplier.astype(np.int64), operation.shift
    if operation.groups == 1:
        if scalar is not None:
            factors, shift = integer.scale(factors, scalar[0]), np.clip(shift + scalar[1], 0, 47)
        return saturate(round_shift(matvec(operation.weight, x) * factors, shift) + plus, 16)
    y = plus if scalar is None else 0
    for index, factor in enumerate(factors):
        part = slice(index * operation.group, (index + 1) * operation.group)
        y = saturate(round_shift(matvec(operation.weight[:, part], x[..., part]) * factor, shift) + y, 16)
    if scalar is None:
        return y
    return saturate(round_shift(y * scalar[0], np.clip(operation.rescale + scalar[1], 0, 47)) + plus, 16)


class Golden:
    """A decoder step by step, for `batch` independent sequences at once, with an int8 KV cache."""

    def __init__(self, model: QuantisedModel, batch: int = 1):
        self.model = model
        config = model.config
        shape = (config.n_layers, batch, config.seq_len, config.n_kv_heads, config.head_dim)
        self._keys, self._values = np.zeros(shape, np.int8), np.zeros(shape, np.int8)
        self._rotary = integer.rotary_tables(config.head_dim, config.seq_len, config.rope_theta)

    def step(self, tokens: np.ndarray, position: int) -> np.ndarray:
        """Logits, float64 [batch, vocab], after the tokens [batch] at a position; positions come in order from 0."""
        logits, scale = self.integers(tokens, position)
        return logits * (scale * self.model.logit_unit)

    def integers(self, tokens: np.ndarray, position: int) -> tuple[np.ndarray, np.ndarray]:
        """The step's results as the tile has them: int16 logits [batch, vocab] and their int16 scales [batch, 1]."""
        model, shifts = self.model, self.model.shifts
        factors = model.embedding_factors[:, tokens].T.astype(np.int64).repeat(model.embedding_group, axis=1)
        x = saturate(round_shift(model.embedding[tokens] * factors[:, :model.config.dim], shifts.embedding), 16)
        for index in range(model.config.n_layers):
            x = self._attention(index, x, position)
            x = self._feed_forward(index, x)
        y, (mantissa, exponent) = self._norm(model.final_gain, shifts.final_norm, x)
        scale = round_shift(mantissa << 14, np.clip(shifts.logit_scale + exponent, 0, 47))
        return linear(model.linears["classifier"], y), saturate(scale, 16)

    def _norm(self, gain, shift, x):
        """int8 inputs for the next product, and their scalar."""
        y, step = integer.quantise(saturate(round_shift(x * gain, shift), 16))
        return y, multiply(step, integer.rsqrt(integer.sum_of_squares(x) + self.model.epsilon))

    def _attention(self, index, x, position):
        model, config = self.model, self.model.config
        layer = model.layers[index]
        y, scalar = self._norm(layer.attention_gain, model.shifts.attention_norm, x)
        heads = linear(model.linears[f"layers.{index}.qk"], y, scalar).reshape(len(x), -1, config.head_dim)
        q, k = np.split(heads, [config.n_heads], axis=1)
        rotation = integer.rotation(self._rotary, position)
        k = round_shift(_turned(k, rotation, 14, 16), FRACTION) + layer.key_offset
        self._keys[index, :, position] = saturate(k, 8)
        v = saturate(linear(model.linears[f"layers.{index}.v"], y, scalar), 8)
        self._values[index, :, position] = v.reshape(len(x), -1, config.head_dim)
        o = self._attend(index, _turned(q, rotation, 14 + FRACTION, 8), position)
        return linear(model.linears[f"layers.{index}.wo"], o.reshape(len(x), -1), plus=x)

    def _attend(self, index, q, position):
        """Attention's output, int8 [batch, n_heads, head_dim], `value_gain` bits finer than the values."""
        shifts, config = self.model.shifts, self.model.config
        group = config.n_heads // config.n_kv_heads
        keys = self._keys[index, :, :position + 1].repeat(group, axis=2).astype(np.float64)
        values = self._values[index, :, :position + 1].repeat(group, axis=2).astype(np.float64)
        # float64 holds these products exactly.
        products = np.einsum("bhd,bthd->bht", q.astype(np.float64), keys).astype(np.int64)
        factor = self.model.layers[index].score_factor[:, None].astype(np.int64)
        scores = saturate(round_shift(products * factor, shifts.score), 16)
        weights = integer.exp2_negative(scores.max(axis=-1, keepdims=True) - scores)
        sums = np.einsum("bht,bthd->bhd", weights.astype(np.float64), values).astype(np.int64)
        mantissa, exponent = integer.reciprocal(weights.sum(axis=-1, keepdims=True))
        return saturate(round_shift(sums * mantissa, exponent - shifts.value_gain), 8)

    def _feed_forward(self, index, x):
        model = self.model
        y, scalar = self._norm(model.layers[index].ffn_gain, model.shifts.ffn_norm, x)
        gate, up = (linear(model.linears[f"layers.{index}.{name}"], y, scalar) for name in ("w1", "w3"))
        hidden = saturate(round_shift(integer.silu(gate) * up, model.shifts.hidden), 16)
        hidden, step = integer.quantise(hidden)
        return linear(model.linears[f"layers.{index}.w2"], hidden, step, plus=x)


def _turned(heads, rotation, shift, bits):
    """Rotary embedding of int16 heads [batch, n, head_dim]."""
    return integer.turn(heads.reshape(*heads.shape[:-1], -1, 2), rotation, shift, bits).reshape(heads.shape)
