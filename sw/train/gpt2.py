"""A small GPT-2 in PyTorch, with weights in float32: `python -m marey.sw.train --family gpt2`.

The default model (see `network.py`) learns with 4-bit weights; this one does not, so it shows what
the quantiser makes of a network that knows nothing of integers.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..formats import huggingface
from ..model.config import ModelConfig
from ..model.model import Model
from ..text.tokenizer import Tokenizer

CONFIG = ModelConfig(dim=64, hidden_dim=256, n_layers=3, n_heads=4, n_kv_heads=4, vocab_size=384, seq_len=128,
                     family="gpt2")
"""Hidden width as in GPT-2, four times `dim`; most stories fit into 128 positions."""
FOLDER = True
"""The checkpoint is a folder."""


class Block(nn.Module):
    """A decoder layer: attention and feed-forward block, a layer norm in front of each."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.n_heads = config.n_heads
        dim, hidden = config.dim, config.hidden_dim
        out = (2 * config.n_layers) ** -0.5
        self.attention_norm = nn.LayerNorm(dim, config.norm_eps)
        self.qkv = _linear(dim, 3 * dim)
        self.wo = _linear(dim, dim, out)
        self.ffn_norm = nn.LayerNorm(dim, config.norm_eps)
        self.w1 = _linear(dim, hidden)
        self.w2 = _linear(hidden, dim, out)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, dim = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(batch, length, 3, self.n_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        o = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.wo(o.transpose(1, 2).reshape(batch, length, dim))
        return x + self.w2(functional.gelu(self.w1(self.ffn_norm(x)), approximate="tanh"))


class Network(nn.Module):
    """The whole decoder; classifier and embedding are one matrix."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        deviation = config.dim ** -0.5
        self.embedding = nn.Parameter(torch.randn(config.vocab_size, config.dim) * deviation)
        self.positions = nn.Parameter(torch.randn(config.seq_len, config.dim) * deviation)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.final_norm = nn.LayerNorm(config.dim, config.norm_eps)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [batch, length, vocab] of token ids [batch, length], and the last residual [batch,
        length, dim].
        """
        x = self.embedding[tokens] + self.positions[:tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.final_norm(x) @ self.embedding.T, x


def checkpoint(network: Network) -> Model:
    """The network's weights as a model."""
    weights = {"embedding": _array(network.embedding), "positions": _array(network.positions)}
    for index, block in enumerate(network.blocks):
        parts = [np.split(_array(values), 3) for values in (block.qkv.weight, block.qkv.bias)]
        layer = {}
        for name, weight, bias in zip(("wq", "wk", "wv"), *parts, strict=True):
            layer |= {name: weight, f"{name}_bias": bias}
        for name in ("attention_norm", "wo", "ffn_norm", "w1", "w2"):
            layer |= _with_bias(name, getattr(block, name))
        weights |= {f"layers.{index}.{name}": values for name, values in layer.items()}
    return Model(network.config, weights | _with_bias("final_norm", network.final_norm))


def write(path: Path, model: Model, tokenizer: Tokenizer) -> None:
    """Writes a Hugging Face folder, weights in float32."""
    huggingface.write(path, model, tokenizer)


def _linear(inputs, outputs, scale=1.0):
    """A linear layer with a bias of 0, whose results are `scale` times as large as its inputs."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=scale * inputs ** -0.5)
    nn.init.zeros_(layer.bias)
    return layer


def _array(values):
    return values.detach().numpy()


def _with_bias(name, layer):
    return {name: _array(layer.weight), f"{name}_bias": _array(layer.bias)}
