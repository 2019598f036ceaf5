"""The float32 reference: what the integer model is judged by and calibrated on."""

from collections.abc import Callable

import numpy as np

from .model import Llama


class Reference:
    """A decoder in float32 with a KV cache, for `batch` independent sequences at once.

    `observe(name, value)`, if given, is called with the intermediate values that calibration needs.
    """

    def __init__(self, model: Llama, batch: int = 1, observe: Callable[[str, np.ndarray], None] | None = None):
        self.model = model
        self._observe = observe or (lambda name, value: None)
        config = model.config
        self._keys = self._values = np.zeros((config.n_layers, batch, 0, config.n_kv_heads, config.head_dim), np.float32)
        self._rotations = np.zeros((0, config.head_dim // 2), np.complex64)

    @np.errstate(over="ignore", divide="ignore", invalid="ignore")  # what becomes of it is looked at, not how
    def step(self, tokens: np.ndarray, position: int) -> np.ndarray:
        """Logits [batch, vocab] after the tokens [batch] at a position; positions come in order from 0."""
        config, observe = self.model.config, self._observe
        if position >= len(self._rotations):
            self._grow()
        x = self.model.embedding[tokens]
        for index, layer in enumerate(self.model.layers):
            observe("x", x)
            y = self._norm(f"{index}.attention", x, layer.attention_norm)
            heads = (len(x), -1, config.head_dim)
            q = self._turn((y @ layer.wq.T).reshape(heads), position)
            k = self._turn((y @ layer.wk.T).reshape(heads), position)
            v = (y @ layer.wv.T).reshape(heads)
            for name, value in (("q", q), ("k", k), ("v", v)):
                observe(f"{index}.{name}", value)
            self._keys[index, :, position], self._values[index, :, position] = k, v
            o = self._attend(index, q, position)
            observe(f"{index}.o", o)
            x = x + o.reshape(len(x), -1) @ layer.wo.T
            observe("x", x)
            y = self._norm(f"{index}.ffn", x, layer.ffn_norm)
            a, b = y @ layer.w1.T, y @ layer.w3.T
            h = a / (1 + np.exp(-a)) * b
            for name, value in (("a", a), ("b", b), ("h", h)):
                observe(f"{index}.{name}", value)
            out = h @ layer.w2.T
            observe(f"{index}.out", out)
            x = x + out
        observe("x", x)
        logits = self._norm("final", x, self.model.final_norm) @ self.model.classifier.T
        observe("logits", logits)
        return logits

    def _norm(self, name, x, gain):
        rms = np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + self.model.config.norm_eps)
        self._observe(f"{name}.gained", x * gain)
        self._observe(f"{name}.rms", rms)
        y = x / rms * gain
        self._observe(f"{name}.y", y)
        return y

    def _grow(self):
        """Makes room for twice as many positions, from 64 on: a context may be far longer than what is done in it."""
        config, room = self.model.config, len(self._rotations)
        more = min(max(64, room), config.seq_len - room)
        empty = np.zeros((*self._keys.shape[:2], more, *self._keys.shape[3:]), np.float32)
        self._keys, self._values = (np.concatenate([cache, empty], axis=2) for cache in (self._keys, self._values))
        angle = np.arange(room + more)[:, None] * config.rope_theta ** (-np.arange(0, config.head_dim, 2) / config.head_dim)
        self._rotations = np.exp(1j * angle).astype(np.complex64)

    def _turn(self, x, position):
        turned = np.ascontiguousarray(x).view(np.complex64) * self._rotations[position]
        return turned.view(np.float32)

    def _attend(self, index, q, position):
        config = self.model.config
        group = config.n_heads // config.n_kv_heads
        keys = self._keys[index, :, :position + 1].repeat(group, axis=2)
        values = self._values[index, :, :position + 1].repeat(group, axis=2)
        scores = np.einsum("bhd,bthd->bht", q, keys) / np.sqrt(config.head_dim, dtype=np.float32)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return np.einsum("bht,bthd->bhd", weights, values)
