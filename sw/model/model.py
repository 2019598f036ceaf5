"""The Llama family: what a model is, in float32."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Shape of a Llama-style model. Weights multiply from the left: a matrix is [outputs, inputs].

    `bos`, `eos`: the token that begins a text, and those that end one; by default in SentencePiece's numbering.
    """

    dim: int
    hidden_dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    vocab_size: int
    seq_len: int
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    tied: bool = True
    bos: int = 1
    eos: tuple[int, ...] = (2,)

    def __post_init__(self):
        object.__setattr__(self, "eos", tuple(self.eos))  # JSON has lists

    @property
    def head_dim(self) -> int:
        return self.dim // self.n_heads

    @property
    def kv_dim(self) -> int:
        return self.head_dim * self.n_kv_heads

    @property
    def linear_macs(self) -> int:
        """Multiply-accumulates of one token in its linear layers."""
        layer = 2 * self.dim * (self.dim + self.kv_dim) + 3 * self.dim * self.hidden_dim
        return self.n_layers * layer + self.vocab_size * self.dim

    @property
    def classifier_macs(self) -> int:
        """Multiply-accumulates of the classifier, which the steps of a prompt do without."""
        return self.vocab_size * self.dim

    def macs(self, position: int) -> int:
        """Useful multiply-accumulates of the token at a position: linear layers, scores and values."""
        return self.linear_macs + 2 * self.n_layers * self.dim * (position + 1)


@dataclass(frozen=True)
class Layer:
    """Weights of a decoder layer, float32."""

    attention_norm: np.ndarray
    wq: np.ndarray
    wk: np.ndarray
    wv: np.ndarray
    wo: np.ndarray
    ffn_norm: np.ndarray
    w1: np.ndarray
    w2: np.ndarray
    w3: np.ndarray


@dataclass(frozen=True)
class Llama:
    """A model: embedding [vocab, dim], layers, final norm [dim], classifier [vocab, dim] (the embedding if tied).

    Rotary embedding turns neighbouring pairs (2i, 2i + 1) of each head, as llama2.c has it.
    """

    config: ModelConfig
    embedding: np.ndarray
    layers: list[Layer]
    final_norm: np.ndarray
    classifier: np.ndarray


def shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Shape of each weight of a layer, in the order of `Layer`."""
    dim, kv_dim, hidden = config.dim, config.kv_dim, config.hidden_dim
    return {
        "attention_norm": (dim,), "wq": (dim, dim), "wk": (kv_dim, dim), "wv": (kv_dim, dim), "wo": (dim, dim),
        "ffn_norm": (dim,), "w1": (hidden, dim), "w2": (dim, hidden), "w3": (hidden, dim),
    }
