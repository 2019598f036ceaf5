"""The default model in PyTorch, with weights of 4 bits from the first training step on.

A matrix has one step size, and its weights are whole numbers from -7 to 7 times the step, as the
tile holds them. Gradients pass through the rounding unchanged (straight-through estimator: Bengio
et al., 2013, arXiv 1308.3432). Norms have no gains.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..formats import gguf
from ..model.config import ModelConfig
from ..model.model import Model
from ..text.tokenizer import Tokenizer

CONFIG = ModelConfig(dim=64, hidden_dim=160, n_layers=4, n_heads=4, n_kv_heads=1, vocab_size=384, seq_len=256)
"""A shape that fits an iCE40 UP5K: 96 KB of 4-bit weights, and 32 KB for 128 bytes of keys and
values a position.
"""
FOLDER = False
"""The checkpoint is a file."""
LIMIT = 7
"""Largest magnitude of a weight in steps; -8 is left out so that the range is symmetric."""
STEP = 0.45
"""A step size, in mean magnitudes of a matrix: 0.36 standard deviations of normal weights, about
the best for 15 levels.
"""


class Matrix(nn.Module):
    """A matrix [outputs, inputs] on a grid, whose step size follows the mean magnitude of its
    weights.
    """

    def __init__(self, outputs: int, inputs: int, deviation: float):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * deviation)

    def grid(self) -> tuple[Tensor, Tensor]:
        """The weights in steps (whole numbers, as float), and the step size, rounded to a 16-bit
        float.
        """
        step = (STEP * self.weight.detach().abs().mean()).half().float()
        return (self.weight / step).round().clamp(-LIMIT, LIMIT), step

    def forward(self) -> Tensor:
        """The weights on the grid, differentiable."""
        integers, step = self.grid()
        scaled = (self.weight / step).clamp(-LIMIT, LIMIT)
        return (scaled + (integers - scaled).detach()) * step


class Block(nn.Module):
    """A decoder layer. Queries and keys share one step size."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        dim, hidden = config.dim, config.hidden_dim
        out = (2 * config.n_layers) ** -0.5
        self.qk = Matrix(dim + config.kv_dim, dim, dim ** -0.5)
        self.v = Matrix(config.kv_dim, dim, dim ** -0.5)
        self.wo = Matrix(dim, dim, dim ** -0.5 * out)
        self.w1, self.w3 = Matrix(hidden, dim, dim ** -0.5), Matrix(hidden, dim, dim ** -0.5)
        self.w2 = Matrix(dim, hidden, hidden ** -0.5 * out)

    def forward(self, x: Tensor, rotation: Tensor) -> Tensor:
        config, (batch, length, _) = self.config, x.shape
        y = norm(x, config.norm_eps)
        heads = (y @ self.qk().T).view(batch, length, -1, config.head_dim // 2, 2)
        heads = torch.view_as_real(torch.view_as_complex(heads) * rotation[:length, None]).flatten(3).transpose(1, 2)
        q, k = heads[:, :config.n_heads], heads[:, config.n_heads:]
        v = (y @ self.v().T).view(batch, length, -1, config.head_dim).transpose(1, 2)
        o = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + o.transpose(1, 2).flatten(2) @ self.wo().T
        y = norm(x, config.norm_eps)
        return x + (functional.silu(y @ self.w1().T) * (y @ self.w3().T)) @ self.w2().T


class Network(nn.Module):
    """The whole decoder; classifier and embedding are one matrix."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.embedding = Matrix(config.vocab_size, config.dim, config.dim ** -0.5)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        frequency = config.rope_theta ** (-torch.arange(0, config.head_dim, 2) / config.head_dim)
        angle = torch.arange(config.seq_len)[:, None] * frequency
        self.register_buffer("rotation", torch.polar(torch.ones_like(angle), angle), persistent=False)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [batch, length, vocab] of token ids [batch, length], and the last residual [batch,
        length, dim].
        """
        table = self.embedding()
        x = table[tokens]
        for block in self.blocks:
            x = block(x, self.rotation)
        return norm(x, self.config.norm_eps) @ table.T, x


def checkpoint(network: Network) -> Model:
    """The network's weights, on their grids, as a model."""
    config = network.config

    def weight(matrix: Matrix):
        integers, step = matrix.grid()
        return (integers * step).detach().numpy()

    ones = np.ones(config.dim, np.float32)
    weights = {"embedding": weight(network.embedding), "final_norm": ones}
    for index, block in enumerate(network.blocks):
        wq, wk = np.split(weight(block.qk), [config.dim])
        layer = {"attention_norm": ones, "wq": wq, "wk": wk, "ffn_norm": ones}
        layer |= {"wv" if name == "v" else name: weight(getattr(block, name)) for name in ("v", "wo", "w1", "w3", "w2")}
        weights |= {f"layers.{index}.{name}": values for name, values in layer.items()}
    return Model(config, weights)


def write(path: Path, model: Model, tokenizer: Tokenizer) -> None:
    """Writes a GGUF file in Q4_0, which keeps weights on their grids as they are."""
    gguf.write(path, model, tokenizer, dtype="Q4_0")


def norm(x: Tensor, epsilon: float) -> Tensor:
    """x divided by the root of its mean square."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon)
