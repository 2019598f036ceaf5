"""The golden integer model: the definition of every result.

It walks the graph of a quantised model in the arithmetic of `marey.hdl.spec.integer`. Vectors in
memory are int16, inputs of matrix products int8, accumulators int32. A factor of a whole vector
(the 1/rms of a norm, the step of dynamic quantisation) is a scalar, (mantissa, exponent). It is
applied after the matrix product that follows, since W (s x) = s (W x).
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from ...hdl.spec import integer
from ...hdl.spec.integer import matvec, multiply, round_shift, saturate
from ..model.graph import Kind
from ..model.integer_graph import WEIGHT_GROUP, keys_at_once
from ..model.rotary import frequencies
from .model import FRACTION, Linear, QuantisedModel
from .static import logits_complete


def linear(operation: Linear, x: np.ndarray, scalar=None, plus: np.ndarray | int = 0,
           limit: Callable[[np.ndarray, int], np.ndarray] = saturate) -> np.ndarray:
    """A matrix product and what follows it: `plus` + operation(x), saturated to 16 bits; see
    `Linear`.

    `x`: int8 [..., K]. `scalar`: the (mantissa, exponent) that x is multiplied by, arrays [..., 1],
    or [..., groups] if each group of x has its own; or None. `plus`: int16 values [..., N], or one for
    all. `limit`: saturates. Returns int64 [..., N] of int16 values.
    """
    late = scalar is not None and operation.groups > scalar[0].shape[-1]
    y, parts = 0 if late else plus, [slice(start, start + operation.group) for start in range(0, x.shape[-1], operation.group)]
    first = 0
    if operation.first_shift is not None:
        sums = matvec(operation.floats[:, parts[0]], x[..., parts[0]]) * operation.factors[0].astype(np.int64)
        sums = limit(round_shift(sums, operation.first_shift), 16)
        y = limit(round_shift(sums * scalar[0][..., :1], np.clip(operation.rescale + scalar[1][..., :1], 0, 47)) + plus, 16)
        first = 1
    for index, part in list(enumerate(parts))[first:]:
        factor, shift = operation.factors[index].astype(np.int64), operation.shift
        if index >= operation.groups - operation.offset_groups:
            shift = operation.offset_shift
        if scalar is not None and not late:
            mantissa, exponent = (each[..., index, None] for each in scalar)
            factor, shift = integer.scale(factor, mantissa), np.clip(shift + exponent, 0, 47)
        y = limit(round_shift(matvec(operation.floats[:, part], x[..., part]) * factor, shift) + y, 16)
    if not late:
        return y
    return limit(round_shift(y * scalar[0], np.clip(operation.rescale + scalar[1], 0, 47)) + plus, 16)


TOGETHER = 64
"""Positions of a prompt that are computed together; their scores with all keys fit a processor's cache."""
LOWEST = -32768
"""The score of a position that is not to be seen yet: no score is smaller."""


class Watch(Protocol):
    """Is told what a golden model makes. `layer`: number of the layer, or None outside the layers."""

    def made(self, layer: int | None, name: str, value: np.ndarray) -> None:
        """The value `name` of the graph: integers, int64 [rows, ...]."""

    def limited(self, layer: int | None, name: str, count: int, of: int) -> None:
        """`count` of `of` values of the operation `name` (or of "keys" or "cached values") saturated."""


class Golden:
    """A decoder for `batch` independent sequences at once, with a KV cache of 8 or 4 bits.

    It computes one position of each sequence, or several together, whose integers are the same. An
    array has a row for each position of each sequence: sequence by sequence, in each of them position
    by position.

    `keys`, `values`: the KV cache, int8 [layers, batch, positions, KV heads, head_dim]. `watch`: is
    told what saturates, and all values.
    """

    def __init__(self, model: QuantisedModel, batch: int = 1, watch: Watch | None = None):
        self.model, self._batch, self._watch = model, batch, watch
        config = model.config
        shape = (config.n_layers, batch, config.seq_len, config.n_kv_heads, config.head_dim)
        self.keys, self.values = np.zeros(shape, np.int8), np.zeros(shape, np.int8)
        self._keys_at_once = keys_at_once(model.graph)
        self._rotary = integer.rotary_tables(frequencies(config), config.seq_len)
        # {second operand of an ADD: its first}. The matrix that makes the second adds the first to its
        # results, unless the results have units of their own.
        self._sums = {operation.inputs[1]: operation.inputs[0] for operation in model.graph.of_kind(Kind.ADD)
                      if not model.offsets}

    def step(self, tokens: np.ndarray, position: int) -> np.ndarray:
        """Logits, float64 [batch, vocab], after the tokens, int [batch], at a position.

        Positions must follow one another from 0 on.
        """
        return self.texts(tokens[:, None], position)[:, 0]

    def texts(self, tokens: np.ndarray, position: int) -> np.ndarray:
        """Logits, float64 [batch, n, vocab], after each of the tokens, int [batch, n], at n positions from `position` on.

        Before them come the tokens that were computed before."""
        logits, scale = self._integers(tokens, position)
        return (logits * (scale * self.model.logit_unit)).reshape(*tokens.shape, -1)

    def integers(self, tokens: np.ndarray, position: int) -> tuple[np.ndarray, np.ndarray]:
        """Like `step`, but with the integers that the tile leaves in MEM.

        Returns logits [batch, vocab] and their scales [batch, 1], int64 arrays of int16 values.
        """
        return self._integers(tokens[:, None], position)

    def _integers(self, tokens, position):
        """Logits and scales as of `integers`, a row for each position of each sequence."""
        self._walk(tokens, position, True)
        classifier = self.model.graph.find("classifier")
        mantissa, exponent = (1, 0) if logits_complete(self.model.graph) else self._scalars[classifier.inputs[0]]
        shape = (tokens.size, 1)
        scale = round_shift(np.broadcast_to(mantissa, shape) << 14, np.clip(self.model.shifts["choice"] + exponent, 0, 47))
        return self._env["logits"], saturate(scale, 16)

    def prefill(self, tokens: np.ndarray, position: int) -> None:
        """Enters the keys and values of a prompt into the KV cache, those of many positions together.

        `tokens`: int [batch, n], at n positions from `position` on. Before them come the tokens that
        were computed before.
        """
        for start in range(0, tokens.shape[1], TOGETHER):
            self._walk(tokens[:, start:start + TOGETHER], position + start, False)

    def _walk(self, tokens, position, wanted):
        """Computes all values of tokens, [batch, n], at n positions from `position` on; those behind
        the layers only if the next token is `wanted`."""
        graph, n_layers = self.model.graph, self.model.config.n_layers
        self._first, self._end = position, position + tokens.shape[1]
        self._positions = np.tile(np.arange(self._first, self._end), self._batch)
        self._env, self._scalars = {"token": tokens.ravel(), "position": self._positions}, {}
        for layer, region in [(None, graph.begin), *((layer, graph.layer) for layer in range(n_layers)),
                              (None, graph.end if wanted else ())]:
            for operation in region:
                if operation.kind is not Kind.CHOOSE:
                    inputs, self._at = [self._env[name] for name in operation.inputs], (layer, operation.name)
                    execute = getattr(self, f"_{operation.kind.name.lower()}")
                    made = self._env[operation.output.name] = execute(operation, layer or 0, *inputs)
                    if self._watch:
                        self._watch.made(layer, operation.output.name, made)

    def _limit(self, x, bits, name=""):
        """Saturates, and tells the watch how many values did. `name`: of what they are, if not of the operation's result."""
        found = saturate(x, bits)
        if self._watch:
            layer, operation = self._at
            self._watch.limited(layer, name or operation, int(np.count_nonzero(found != x)), found.size)
        return found

    def _embed(self, operation, layer, tokens):
        model = self.model
        if model.balanced and model.bits == 4:
            # A row lies in W-RAM in two parts, of 4 bits each.
            rows, factors, shift = model.embedding[tokens], model.embedding_factor.astype(np.int64), model.shifts["embedding"]
            high, low = integer.signed_halves(rows)
            high = self._limit(round_shift(high * factors, shift - 4), 16)
            return self._limit(round_shift(low * factors, shift) + high, 16)
        if model.balanced:
            return self._limit(round_shift(model.embedding[tokens] * model.embedding_factor.astype(np.int64),
                                           model.shifts["embedding"]), 16)
        factors = model.embedding_factors[:, tokens].T.astype(np.int64).repeat(model.embedding_group, axis=1)
        return self._limit(round_shift(model.embedding[tokens] * factors[:, :model.config.dim], model.shifts["embedding"]), 16)

    def _position(self, operation, layer, x, positions):
        return self._limit(x + self.model.vector(operation.name)[positions].astype(np.int64), 16)

    def _norm(self, operation, layer, x):
        """The int8 inputs of the products that read the norm; their scalar, unless they are static, goes to `_scalars`."""
        if self.model.balanced:
            return self._balanced_norm(operation, layer, x)
        root = integer.rsqrt(integer.sum_of_squares(x) + self.model.epsilon)
        gained = self._limit(round_shift(x * self.model.vector(operation.name, layer), self.model.shifts[operation.name]), 16)
        if operation.output.static:
            total = np.clip(self.model.shifts[f"{operation.name} int8"] + root[1], 0, 47)
            return self._limit(round_shift(gained * root[0], total), 8)
        y, step = _quantised(gained, operation.output)
        self._scalars[operation.output.name] = multiply(step, root)
        return y

    def _balanced_norm(self, operation, layer, x):
        """Like `_norm`, for a balanced residual; see `marey.sw.quant.residual`."""
        model = self.model
        gains, groups = model.vector(operation.name, layer), operation.output.groups
        gained, inverse, _ = integer.filled(x * gains, integer.GAIN_RANGE_SHIFT, groups)
        y, step = integer.quantise(gained, groups)
        (epsilon,) = model.vector("epsilon").astype(np.int64)
        power, root = integer.balanced_root(np.concatenate([x, np.full((len(x), 1), epsilon)], axis=1),
                                            model.vector(f"{operation.name}_units", layer).astype(np.int64))
        self._scalars[operation.output.name] = multiply(multiply(step, inverse), multiply(power, root))
        return y

    def _quantise(self, operation, layer, x):
        """The int8 inputs of a product; their scalar, times that of `x` if it has one, goes to `_scalars`."""
        y, step = _quantised(x, operation.output)
        scalar = self._scalars.get(operation.inputs[0])
        self._scalars[operation.output.name] = step if scalar is None else multiply(step, scalar)
        return y

    def _join(self, operation, layer, x, sums):
        """The int8 inputs of a product, and behind them, twice, the sums of their groups; a scalar for each group goes to
        `_scalars`."""
        inputs, scalars = operation.inputs[0], None
        parts = -(-x[0].size // WEIGHT_GROUP)
        if inputs in self._scalars:
            (sums, step), known = integer.quantise(sums), self._scalars[inputs]
            repeats, several = -(-parts // known[0].shape[-1]), -(-sums.shape[-1] // WEIGHT_GROUP) * 2
            scalars = tuple(np.concatenate([each.repeat(repeats, axis=-1)[..., :parts], last.repeat(several, axis=-1)], axis=-1)
                            for each, last in zip(known, step, strict=True))
            self._scalars[operation.output.name] = scalars
        else:
            sums = self._limit(sums, 8)

        def whole(part):
            return np.pad(part, ((0, 0), (0, -part.shape[1] % WEIGHT_GROUP)))

        return np.concatenate([whole(x.reshape(len(x), -1)), whole(sums), whole(sums)], axis=1)

    def _linear(self, operation, layer, x, gate=None):
        made = self.model.linear(operation.name, layer)
        if gate is not None:
            return self._limit(round_shift(matvec(made.floats, x) * gate, made.shift), 8)
        scalar = self._scalars[operation.inputs[0]] if operation.scaled else None
        plus = 0 if made.bias is None else made.bias.astype(np.int64)
        if operation.output.name in self._sums:
            # As on the tile, the bias is added to the residual before the product is.
            plus = self._limit(self._env[self._sums[operation.output.name]] + plus, 16)
        y = linear(made, x.reshape(len(x), -1), scalar, plus, self._limit)
        return y.reshape(len(x), operation.output.heads, -1) if operation.output.heads else y

    def _add(self, operation, layer, x, result):
        if not self.model.offsets:
            return result
        factors = self.model.vector(operation.name, layer)
        return self._limit(x + self._limit(round_shift(result * factors, integer.SUMMAND_SHIFT), 16), 16)

    def _rescale(self, operation, layer, x):
        return self._limit(round_shift(x * self.model.vector(operation.name, layer), integer.RESCALE_SHIFT), 16)

    def _angles(self, operation, layer, positions):
        return integer.rotation(self._rotary, positions)[:, None]

    def _head_norm(self, operation, layer, heads):
        """Queries and keys [rows, n_heads + n_kv_heads, head_dim], each head normalised and multiplied by its gains."""
        gains = self.model.vector(operation.name, layer).astype(np.int64)
        return self._limit(round_shift(integer.normalised(heads) * gains, self.model.shifts[operation.name]), 16)

    def _rotate(self, operation, layer, heads, rotation):
        """Rotated queries, of int8 values, and keys, both [rows, n_heads + n_kv_heads, head_dim]. `heads`: int16 values of
        that shape, `FRACTION` bits finer than int8, as are the keys unless `keys_at_once`."""
        q, k = np.split(heads, [self.model.config.n_heads], axis=1)
        return np.concatenate([self._limit(_turned(q, rotation, 14 + FRACTION), 8),
                               self._limit(_turned(k, rotation, 14 + FRACTION * self._keys_at_once), 16)], axis=1)

    def _split(self, operation, layer, heads):
        """Like `_rotate`, without a rotation."""
        q, k = np.split(heads, [self.model.config.n_heads], axis=1)
        return np.concatenate([self._limit(round_shift(q, FRACTION), 8), k], axis=1)

    def _scores(self, operation, layer, heads):
        """Scores of queries with all keys so far, [rows, n_heads, positions].

        A score s stands for the softmax weight 2**(s / 256).
        """
        model, config = self.model, self.model.config
        q, k = np.split(heads, [config.n_heads], axis=1)
        if not self._keys_at_once:
            k = round_shift(k, FRACTION) + model.vector("key_offset", layer)
        self._enter(self.keys[layer], self._limit(k, model.cache_bits, "keys"))
        # float64 holds these products exactly.
        products = self._by_kv_head(q) @ self._cached(self.keys[layer]).swapaxes(-1, -2)
        factor = model.vector("score", layer)[:, None].astype(np.int64)
        scores = self._limit(round_shift(self._by_row(products) * factor, model.shifts[operation.name]), 16)
        return np.where(self._seen(), scores, LOWEST)

    def _softmax(self, operation, layer, scores):
        weights = np.where(self._seen(), integer.exp2_negative(scores.max(axis=-1, keepdims=True) - scores), 0)
        self._scalars[operation.output.name] = integer.reciprocal(weights.sum(axis=-1, keepdims=True))
        return weights

    def _values(self, operation, layer, weights, v):
        """Attention's output, int8 values [rows, n_heads, head_dim].

        It is finer than the cached values by the operation's shift, in bits.
        """
        v = round_shift(v, self.model.shifts["cached values"])
        self._enter(self.values[layer], self._limit(v, self.model.cache_bits, "cached values"))
        sums = self._by_row(self._by_kv_head(weights) @ self._cached(self.values[layer]))
        mantissa, exponent = self._scalars[operation.inputs[0]]
        return self._limit(round_shift(sums * mantissa, exponent - self.model.shifts[operation.name]), 8)

    def _activate(self, operation, layer, x):
        return ACTIVATIONS[operation.function](x)

    def _multiply(self, operation, layer, one, other):
        """The product in its unit; for a balanced residual, in 16 bits that each group fills, with scalars in `_scalars`."""
        if self.model.balanced:
            groups = operation.output.groups
            made, self._scalars[operation.output.name], _ = integer.filled(one * other, integer.PRODUCT_RANGE_SHIFT, groups)
            return made
        return self._limit(round_shift(one * other, self.model.shifts[operation.name]), 8 if operation.output.static else 16)

    def _seen(self):
        """Which positions each row may see, its own and those before: bool [rows, 1, positions]."""
        return np.arange(self._end) <= self._positions[:, None, None]

    def _enter(self, cache, heads):
        """Enters keys or values, [rows, n_kv_heads, head_dim], into a layer's cache."""
        cache[:, self._first:self._end] = heads.reshape(self._batch, -1, *heads.shape[1:])

    def _cached(self, cache):
        """A layer's cached keys or values so far: float64 [batch, n_kv_heads, positions, head_dim]."""
        return cache[:, :self._end].swapaxes(1, 2).astype(np.float64)

    def _by_kv_head(self, heads):
        """Rows of query heads, [rows, n_heads, k], as float64 [batch, n_kv_heads, query heads of a KV head
        * positions, k]."""
        kv_heads = self.model.config.n_kv_heads
        parts = heads.reshape(self._batch, -1, kv_heads, heads.shape[1] // kv_heads, heads.shape[2])
        return parts.transpose(0, 2, 3, 1, 4).reshape(self._batch, kv_heads, -1, heads.shape[2]).astype(np.float64)

    def _by_row(self, products):
        """The inverse of `_by_kv_head`, for exact integers: int64 [rows, n_heads, k]."""
        batch, kv_heads, _, size = products.shape
        parts = products.astype(np.int64).reshape(batch, kv_heads, -1, self._end - self._first, size)
        return parts.transpose(0, 3, 1, 2, 4).reshape(len(self._positions), -1, size)


ACTIVATIONS = {"silu": integer.silu, "gelu": integer.gelu}
"""Integer functions of ACTIVATE operations, by name."""


def _quantised(x, value):
    """Like `integer.quantise`, in the groups or halves of the graph's value."""
    if not value.first:
        return integer.quantise(x, max(1, value.groups))
    parts = [integer.quantise(part) for part in (x[..., :value.first], x[..., value.first:])]
    mantissas, exponents = zip(*(step for _, step in parts), strict=True)
    return (np.concatenate([part for part, _ in parts], axis=-1),
            (np.concatenate(mantissas, axis=-1), np.concatenate(exponents, axis=-1)))


def _turned(heads, rotation, shift):
    """Rotates int16 heads [rows, n, head_dim]; `shift` as for `integer.turn`. It does not saturate."""
    return integer.turn(heads.reshape(*heads.shape[:-1], -1, 2), rotation, shift, 32).reshape(heads.shape)
