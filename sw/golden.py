"""The golden integer model: the definition of every result.

A Llama decoder step in the arithmetic of `marey.hdl.integer`. Vectors in memory are int16, inputs of matrix
products int8, accumulators int32. A factor common to a whole vector (the 1/rms of a norm, the step of dynamic
quantisation) is a scalar that is applied after the matrix product that follows: linear operations let it through.
"""

from collections.abc import Callable

import numpy as np

from ..hdl import integer
from ..hdl.integer import matvec, multiply, round_shift, saturate
from .quantise import FRACTION, Linear, Norm, QuantisedModel


def linear(operation: Linear, x: np.ndarray) -> np.ndarray:
    """int8 inputs [..., K] to int16 results [..., N]."""
    return saturate(round_shift(matvec(operation.weight, x) * operation.multiplier, operation.shift), 16)


class Golden:
    """A decoder step by step, for `batch` independent sequences at once, with an int8 KV cache.

    `run(name, x)` computes the linear operation of that name, int8 [batch, K] to int16 [batch, N]; the default is numpy,
    a driver gives the tile's.
    """

    def __init__(self, model: QuantisedModel, batch: int = 1,
                 run: Callable[[str, np.ndarray], np.ndarray] | None = None):
        self.model = model
        self._run = run or (lambda name, x: linear(model.linears[name], x))
        config = model.config
        shape = (config.n_layers, batch, config.seq_len, config.n_kv_heads, config.head_dim)
        self._keys, self._values = np.zeros(shape, np.int8), np.zeros(shape, np.int8)
        self._rotary = integer.rotary_tables(config.head_dim, config.seq_len, config.rope_theta)

    def step(self, tokens: np.ndarray, position: int) -> np.ndarray:
        """Logits, float64 [batch, vocab], after the tokens [batch] at a position; positions come in order from 0."""
        model = self.model
        x = saturate(round_shift(model.embedding[tokens].astype(np.int64) * model.embedding_factor[tokens, None],
                                 model.embedding_shift), 16)
        for index in range(model.config.n_layers):
            x = self._attention(index, x, position)
            x = self._feed_forward(index, x)
        y, scalar = self._norm(model.final_norm, x)
        return self._run("classifier", y) * (scalar[0] * 2.0**-scalar[1]) * model.logit_unit

    def _norm(self, norm: Norm, x):
        """int8 inputs for the next product, and the scalar that its results lack."""
        y, step = integer.quantise(saturate(round_shift(x * norm.gain, norm.shift), 16))
        squares = round_shift(x * x, self.model.square_shift).sum(axis=-1, keepdims=True)
        return y, multiply(step, integer.rsqrt(squares + self.model.epsilon))

    def _attention(self, index, x, position):
        layer, config = self.model.layers[index], self.model.config
        y, scalar = self._norm(layer.attention_norm, x)
        qkv = _scaled(self._run(f"layers.{index}.qkv", y), scalar, layer.qkv_shift)
        heads = qkv.reshape(len(x), -1, config.head_dim)
        q, k, v = np.split(heads, [config.n_heads, config.n_heads + config.n_kv_heads], axis=1)
        rotation = integer.rotation(self._rotary, position)
        q, k = _turned(q, rotation), saturate(_turned(k, rotation) - layer.key_offset, 16)
        self._keys[index, :, position] = _narrow(k)
        self._values[index, :, position] = _narrow(v)
        o = self._attend(index, _narrow(q), position)
        return saturate(x + self._run(f"layers.{index}.wo", o.reshape(len(x), -1)), 16)

    def _attend(self, index, q, position):
        """Attention's output, int8 [batch, n_heads, head_dim], `value_gain` bits finer than the values."""
        layer, config = self.model.layers[index], self.model.config
        group = config.n_heads // config.n_kv_heads
        keys = self._keys[index, :, :position + 1].repeat(group, axis=2).astype(np.float64)
        values = self._values[index, :, :position + 1].repeat(group, axis=2).astype(np.float64)
        # float64 holds these products exactly.
        products = np.einsum("bhd,bthd->bht", q.astype(np.float64), keys).astype(np.int64)
        scores = saturate(round_shift(products * layer.score_factor[:, None], layer.score_shift), 16)
        weights = integer.exp2_negative(scores.max(axis=-1, keepdims=True) - scores)
        sums = np.einsum("bht,bthd->bhd", weights.astype(np.float64), values).astype(np.int64)
        mantissa, exponent = integer.reciprocal(weights.sum(axis=-1, keepdims=True))
        return saturate(round_shift(sums * mantissa, exponent - layer.value_gain), 8)

    def _feed_forward(self, index, x):
        layer = self.model.layers[index]
        y, scalar = self._norm(layer.ffn_norm, x)
        gate, up = np.split(self._run(f"layers.{index}.w13", y), 2, axis=-1)
        gate = _scaled(gate, scalar, layer.gate_shift)
        gate = saturate(round_shift(gate * integer.sigmoid(gate, layer.gate_unit), 15), 16)
        hidden, step = integer.quantise(saturate(round_shift(gate * up, layer.hidden_shift), 16))
        out = self._run(f"layers.{index}.w2", hidden)
        return saturate(x + _scaled(out, multiply(scalar, step), layer.out_shift), 16)


def _scaled(x, scalar, shift):
    """int16 values times a scalar, and 2**-shift, in int16."""
    mantissa, exponent = scalar
    return saturate(round_shift(x * mantissa, np.clip(exponent + shift, 0, 47)), 16)


def _turned(heads, rotation):
    """Rotary embedding of int16 heads [batch, n, head_dim]."""
    return integer.turn(heads.reshape(*heads.shape[:-1], -1, 2), rotation).reshape(heads.shape)


def _narrow(x):
    """int8 of values that are `FRACTION` bits finer."""
    return saturate(round_shift(x, FRACTION), 8)
