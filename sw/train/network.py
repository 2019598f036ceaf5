"""The default model in PyTorch, with weights of 4 bits from the first step on.

A matrix has one step, and its weights are whole numbers of it from -7 to 7: what the tile holds. Gradients pass the rounding
as if it were not there (Bengio et al., 2013). Norms have no gains.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..model.config import ModelConfig

LIMIT = 7
"""Largest magnitude of a weight in steps; -8 is left out, so that the range is symmetric."""
STEP = 0.45
"""A step, in mean magnitudes of a matrix: 0.36 deviations if they are normal, about what loses least in 15 levels."""


class Matrix(nn.Module):
    """A matrix [outputs, inputs] on a grid, whose step goes with the weights' mean magnitude."""

    def __init__(self, outputs: int, inputs: int, deviation: float):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * deviation)

    def grid(self) -> tuple[Tensor, Tensor]:
        """Weights in steps (whole numbers, as float) and the step, which has the precision of a 16-bit float."""
        step = (STEP * self.weight.detach().abs().mean()).half().float()
        return (self.weight / step).round().clamp(-LIMIT, LIMIT), step

    def forward(self) -> Tensor:
        """The weights on the grid, differentiable."""
        integers, step = self.grid()
        scaled = (self.weight / step).clamp(-LIMIT, LIMIT)
        return (scaled + (integers - scaled).detach()) * step


class Block(nn.Module):
    """A decoder layer. Queries and keys share a step."""

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
    """The decoder; classifier and embedding are one matrix."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.embedding = Matrix(config.vocab_size, config.dim, config.dim ** -0.5)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        frequency = config.rope_theta ** (-torch.arange(0, config.head_dim, 2) / config.head_dim)
        angle = torch.arange(config.seq_len)[:, None] * frequency
        self.register_buffer("rotation", torch.polar(torch.ones_like(angle), angle), persistent=False)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [batch, length, vocab] of tokens [batch, length], and the residual stream [batch, length, dim] before them."""
        table = self.embedding()
        x = table[tokens]
        for block in self.blocks:
            x = block(x, self.rotation)
        return norm(x, self.config.norm_eps) @ table.T, x


def norm(x: Tensor, epsilon: float) -> Tensor:
    """x divided by the root of its mean square."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon)
