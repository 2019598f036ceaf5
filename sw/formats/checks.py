"""Checks that every reader makes before it believes a file."""

import math
import re
from collections.abc import Collection, Mapping

import numpy as np

from ..errors import FormatError, ValuesError
from ..model.config import ModelConfig

Shape = tuple[int, ...]
LIMITS = {"dim": 1 << 16, "hidden_dim": 1 << 18, "n_layers": 512, "n_heads": 1024, "n_kv_heads": 1024,
          "seq_len": 1 << 20, "vocab_size": 1 << 20}
"""Largest value of each dimension; a header with a larger one is taken to be damaged."""
MEANINGS = {
    r".*bias": "a bias",
    r".*(q|k)_norm\.weight": "a norm of queries or keys",
    r"rope_freqs.*|.*rope_factors.*": "frequencies of a scaled rotary embedding",
    r".*(_exps|experts|gate_inp|block_sparse_moe).*": "experts",
    r".*(qweight|qzeros|scales|g_idx|weight_scale.*)": "quantised weights",
}
"""What an unknown tensor holds, by a pattern of its name."""


def checked_config(where: str, names: Mapping[str, str] | None = None, **values) -> ModelConfig:
    """The ModelConfig of values that were found in a file.

    `where` begins each error, such as "m.gguf: its metadata". `names`: what the file calls a field
    of ModelConfig. FormatError for a value that no model has, or that Marey cannot do.
    """
    names = names or {}
    for name, limit in LIMITS.items():
        value = values[name]
        if type(value) is not int or not 0 < value <= limit:
            raise FormatError(f"{where} says {names.get(name, name)} = {str(value)[:40]}, expected 1 to "
                              f"{limit}: damaged?")
    for name in ("rope_theta", "norm_eps"):
        value = values.get(name, 1.0)
        if type(value) not in (int, float) or not 0 < value < 1e12:
            raise FormatError(f"{where} says {name} = {str(value)[:40]}, expected a positive number")
    width = values.get("head_width")
    if width is not None and (type(width) is not int or not 0 < width <= LIMITS["dim"]):
        raise FormatError(f"{where} says heads of {str(width)[:40]} channels, expected 1 to {LIMITS['dim']}: damaged?")
    config = ModelConfig(**values)
    if (width is None and config.dim % config.n_heads) or config.head_dim % 2 or config.n_heads % config.n_kv_heads:
        raise FormatError(f"{where} says dim {config.dim}, {config.n_heads} heads, {config.n_kv_heads} KV "
                          "heads, which do not divide: damaged?")
    if config.rope_factors and len(config.rope_factors) != config.head_dim // 2:
        raise FormatError(f"{where} has {len(config.rope_factors)} factors for the rotary embedding, expected one for "
                          f"each of {config.head_dim // 2} pairs: damaged?")
    for token in (config.bos, *config.eos):
        if type(token) is not int or not 0 <= token < max(config.vocab_size, 3):
            raise FormatError(f"{where} says that token {str(token)[:40]} begins or ends a text, but the "
                              f"vocabulary has {config.vocab_size} tokens")
    return config


def within_window(where: str, window: object, context: int) -> int:
    """The positions of a context that a sliding attention window spans: up to there, it changes nothing.

    `window`: in positions; None is full attention. FormatError for one that no model has.
    """
    if window is None:
        return context
    if type(window) is not int or window < 1:
        raise FormatError(f"{where} is {str(window)[:40]}, expected a number of positions: damaged?")
    return min(window, context)


def check_tensors(where: str, expected: Mapping[str, Shape], found: Mapping[str, tuple[Shape, str]],
                  types: Collection[str]) -> None:
    """Compares the tensors that a file's headers list with those that the model needs.

    `expected`: shape by name. `found`: (shape, type) by name. `types`: those that can be read.
    FormatError for a tensor that is missing, has another shape or type, or is not expected: the
    model would be another than it seems.
    """
    for name, shape in expected.items():
        if name not in found:
            raise FormatError(f"{where}: tensor {name} is missing")
        size, kind = found[name]
        if size != shape:
            raise FormatError(f"{where}: tensor {name} has shape {size}, expected {shape}")
        if kind not in types:
            raise FormatError(f"{where}: tensor {name} is of type {kind}, and Marey reads {', '.join(types)}")
    for name in sorted(found.keys() - expected.keys()):
        meanings = (f" ({text})" for pattern, text in MEANINGS.items() if re.fullmatch(pattern, name))
        meaning = next(meanings, "")
        raise FormatError(f"{where}: it has a tensor {name[:80]}{meaning}, which no model that Marey can do "
                          "has")


def finite(what: str, values: np.ndarray) -> np.ndarray:
    """The values. ValuesError, beginning with `what`, if one is NaN or infinite. Takes no memory of
    their size.
    """
    if not (math.isfinite(values.min()) and math.isfinite(values.max())):
        raise ValuesError(f"{what} has values that are NaN or infinite")
    return values
