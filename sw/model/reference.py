"""The float reference: it computes a model's graph in floating point.

The quantiser calibrates on it, and evaluations compare the integer model with it.
"""

import math
from collections.abc import Callable

import numpy as np

from .graph import Kind, Operation
from .model import Model
from .rotary import frequencies


class Reference:
    """A decoder in floating point, of type `dtype`, with a KV cache, for `batch` independent
    sequences at once.

    `observe(name, value)`, if given, is called with each value that the token makes. `name` is the
    value's name in the graph; in a layer, the layer's number stands before it ("3.gate"). For each
    norm it is also called with NAME.gained, the input times the gain, and NAME.rms, the root mean
    square.

    `starts`, if given: the position at which each sequence begins, [batch]. Rotary embedding is relative, so logits are
    those of sequences that begin at position 0, but queries and keys are turned as they are there. A model with
    learned positions has none.
    """

    def __init__(self, model: Model, batch: int = 1, observe: Callable[[str, np.ndarray], None] | None = None,
                 dtype: type = np.float32, starts: np.ndarray | None = None):
        # A tied classifier is the embedding's array here, too.
        own = {name: values for name, values in model.weights.items() if not (model.config.tied and name == "classifier")}
        self.model = Model(model.config, {name: values.astype(dtype, copy=False) for name, values in own.items()}, model.graph)
        self._dtype = dtype
        self._observe = observe or (lambda name, value: None)
        config, graph = model.config, model.graph
        self._keys = self._values_cache = np.zeros((config.n_layers, batch, config.n_kv_heads, 0, config.head_dim), dtype)
        self._complex = np.result_type(dtype, np.complex64)
        self._starts = np.zeros(1, int) if starts is None else starts
        self._rotations = np.zeros((0, len(self._starts), 1, config.head_dim // 2), self._complex)
        regions = (None, graph.begin), *((layer, graph.layer) for layer in range(config.n_layers)), (None, graph.end)
        # A token's operations with their functions, layers, and names of their outputs for `observe`.
        self._walk = [(operation, getattr(Reference, f"_{operation.kind.name.lower()}"), layer,
                       operation.output.name if layer is None else f"{layer}.{operation.output.name}")
                      for layer, operations in regions for operation in operations if operation.kind is not Kind.CHOOSE]

    @np.errstate(over="ignore", divide="ignore", invalid="ignore")  # callers check that results are finite
    def step(self, tokens: np.ndarray, position: int) -> np.ndarray:
        """Logits, `dtype` [batch, vocab], after the tokens, int [batch], at a position.

        Positions must follow one another from 0 on, which is where a sequence starts.
        """
        batch = len(tokens)
        if position >= self._keys.shape[3]:
            self._grow()
        values = {"token": tokens, "position": position}
        for operation, compute, layer, name in self._walk:
            output, inputs = operation.output, [values[each] for each in operation.inputs]
            result = compute(self, operation, layer, position, *inputs)
            if operation.kind is not Kind.ANGLES:
                result = result.reshape((batch, output.heads, -1) if output.heads else (batch, -1))
                self._observe(name, result)
            values[output.name] = result
        return values["logits"]

    def _embed(self, operation, layer, position, tokens):
        return self.model.of(operation)[0][tokens]

    def _position(self, operation, layer, position, x, _):
        return x + self.model.of(operation)[0][position]

    def _norm(self, operation: Operation, layer, position, x):
        if operation.function == "layer":
            x = x - x.mean(axis=-1, keepdims=True)
        # As `np.mean` does it, in a third of the time.
        rms = np.sqrt(np.add.reduce(x * x, axis=-1, keepdims=True) / x.shape[-1] + self.model.config.norm_eps)
        gain = self.model.of(operation, layer)[0] if operation.weights else self._dtype(1)
        name = operation.output.name if layer is None else f"{layer}.{operation.output.name}"
        self._observe(f"{name}.gained", x * gain)
        self._observe(f"{name}.rms", rms)
        bias = self.model.bias(operation, layer)
        y = x / rms * gain
        return y if bias is None else y + bias

    def _head_norm(self, operation, layer, position, qk):
        rms = np.sqrt(np.mean(qk * qk, axis=-1, keepdims=True) + self.model.config.norm_eps)
        gains = [np.broadcast_to(gain, (count, gain.size)) for gain, count in zip(
            self.model.of(operation, layer), (self.model.config.n_heads, self.model.config.n_kv_heads), strict=True)]
        return qk / rms * np.concatenate(gains)

    def _linear(self, operation, layer, position, x):
        flat = x.reshape(len(x), -1)
        y = np.concatenate([flat @ weight.T for weight in self.model.of(operation, layer)], axis=-1)
        bias = self.model.bias(operation, layer)
        return y if bias is None else y + bias

    def _angles(self, operation, layer, position, _):
        return self._rotations[position]

    def _rotate(self, operation, layer, position, x, rotation):
        turned = np.ascontiguousarray(x).view(self._complex) * rotation
        return turned.view(self._dtype)

    def _scores(self, operation, layer, position, qk):
        config = self.model.config
        q, k = qk[:, :config.n_heads], qk[:, config.n_heads:]
        self._keys[layer, :, :, position] = k
        keys = self._keys[layer, :, :, :position + 1]
        scores = self._by_kv_head(q) @ keys.swapaxes(2, 3)
        scores /= np.sqrt(config.head_dim, dtype=self._dtype)
        return scores.reshape(len(q), config.n_heads, -1)

    def _by_kv_head(self, heads):
        """[batch, heads, n] as [batch, KV heads, query heads that share a KV head, n]."""
        return heads.reshape(len(heads), self.model.config.n_kv_heads, -1, heads.shape[-1])

    def _softmax(self, operation, layer, position, scores):
        weights = scores - scores.max(axis=-1, keepdims=True)
        np.exp(weights, out=weights)
        weights /= weights.sum(axis=-1, keepdims=True)
        return weights

    def _values(self, operation, layer, position, weights, v):
        self._values_cache[layer, :, :, position] = v
        return self._by_kv_head(weights) @ self._values_cache[layer, :, :, :position + 1]

    def _add(self, operation, layer, position, one, other):
        return one + other

    def _multiply(self, operation, layer, position, one, other):
        return one * other

    def _activate(self, operation, layer, position, x):
        return ACTIVATIONS[operation.function](x)

    def _grow(self):
        """Doubles the positions that the cache has room for, 64 at first and `seq_len` at most.

        Most texts are far shorter than the model's context, so the cache grows only when needed.
        """
        config, room = self.model.config, len(self._rotations)
        more = min(max(64, room), config.seq_len - room)
        empty = np.zeros((*self._keys.shape[:3], more, self._keys.shape[4]), self._dtype)
        self._keys, self._values_cache = (np.concatenate([cache, empty], axis=3)
                                          for cache in (self._keys, self._values_cache))
        positions = np.arange(room + more)[:, None] + self._starts
        self._rotations = np.exp(1j * positions[..., None, None] * frequencies(config)).astype(self._complex)


def silu(x: np.ndarray) -> np.ndarray:
    """x * sigmoid(x)."""
    return x / (1 + np.exp(-x))


def gelu(x: np.ndarray) -> np.ndarray:
    """GELU by its tanh approximation (Hendrycks and Gimpel, 2016, arXiv 1606.08415), as GPT-2 has it."""
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


ACTIVATIONS = {"silu": silu, "gelu": gelu}
"""Functions of ACTIVATE operations, by name."""
