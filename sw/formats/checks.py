"""What every reader checks before it believes a file."""

import math

import numpy as np

from ..errors import FormatError
from ..model.config import ModelConfig

LIMITS = {"dim": 1 << 16, "hidden_dim": 1 << 18, "n_layers": 512, "n_heads": 1024, "n_kv_heads": 1024,
          "seq_len": 1 << 20, "vocab_size": 1 << 20}
"""Dimensions beyond which a header is taken to be damaged."""


def checked_config(where: str, names: dict[str, str] | None = None, **values) -> ModelConfig:
    """A model's shape, of values found in a file; `names`: what the file calls them.

    FormatError, beginning with `where`, for values that no model has, or that Marey cannot do.
    """
    names = names or {}
    for name, limit in LIMITS.items():
        value = values[name]
        if type(value) is not int or not 0 < value <= limit:
            raise FormatError(f"{where} says {names.get(name, name)} = {str(value)[:40]}, expected 1 to {limit}: damaged?")
    for name in ("rope_theta", "norm_eps"):
        value = values.get(name, 1.0)
        if type(value) not in (int, float) or not 0 < value < 1e12:
            raise FormatError(f"{where} says {name} = {str(value)[:40]}, expected a positive number")
    config = ModelConfig(**values)
    if config.dim % config.n_heads or config.head_dim % 2 or config.n_heads % config.n_kv_heads:
        raise FormatError(f"{where} says dim {config.dim}, {config.n_heads} heads, {config.n_kv_heads} KV heads, which do not "
                          "divide: damaged?")
    for token in (config.bos, *config.eos):
        if type(token) is not int or not 0 <= token < max(config.vocab_size, 3):
            raise FormatError(f"{where} says that token {str(token)[:40]} begins or ends a text, of {config.vocab_size} tokens")
    return config


def finite(what: str, values: np.ndarray) -> np.ndarray:
    """The values; FormatError if one is NaN or infinite. Takes no memory of their size."""
    if not (math.isfinite(values.min()) and math.isfinite(values.max())):
        raise FormatError(f"{what} has values that are NaN or infinite")
    return values
