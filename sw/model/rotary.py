"""Frequencies of the rotary embedding, and how they are scaled for contexts longer than those of training."""

import numpy as np

from .config import ModelConfig


def frequencies(config: ModelConfig) -> np.ndarray:
    """The angle, in radians, by which each pair of channels is turned from one position to the next: float64 [head_dim / 2].

    That of pair j is theta**(-2j / head_dim) (RoFormer, Su et al., 2021, section 3.2.2), divided by its factor.
    """
    plain = config.rope_theta ** (-np.arange(0, config.head_dim // 2 * 2, 2) / config.head_dim)
    return plain / np.array(config.rope_factors) if config.rope_factors else plain


def llama3_factors(head_dim: int, theta: float, factor: float, low: float, high: float, context: int) -> tuple[float, ...]:
    """The factors of Llama 3.1's scaling, by pair of channels.

    Pairs that turn more than `high` times within the `context` of training keep their frequency, those that turn less than
    `low` times have it divided by `factor`, and between the two the frequency is interpolated. As transformers has it,
    `modeling_rope_utils._compute_llama3_parameters`. Rounded to float32, which files have.
    """
    turns = context * theta ** (-np.arange(0, head_dim, 2) / head_dim) / (2 * np.pi)
    kept = np.clip((turns - low) / (high - low), 0, 1)
    return tuple((1 / (kept + (1 - kept) / factor)).astype(np.float32).tolist())
