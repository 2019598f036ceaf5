"""llama2.c checkpoints, the legacy format: https://github.com/karpathy/llama2.c, `export.py`, version 0.

Seven int32 (dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len; a negative vocab_size says that the
classifier is not the embedding), then float32 weights: embedding, per kind of weight all layers, final norm,
two tables of rotary embedding that nobody reads any more, and the classifier if it is separate.
"""

from pathlib import Path

import numpy as np

from ..errors import FormatError
from ..model import Layer, Llama, ModelConfig, shapes

HEADER = ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len")
LIMITS = {"dim": 1 << 14, "hidden_dim": 1 << 16, "n_layers": 256, "n_heads": 256, "n_kv_heads": 256,
          "vocab_size": 1 << 18, "seq_len": 1 << 20}
"""Dimensions beyond which a header is taken to be damaged."""
ORDER = ("attention_norm", "wq", "wk", "wv", "wo", "ffn_norm", "w1", "w2", "w3")


def read(path: Path) -> Llama:
    """The model in a legacy checkpoint, its weights mapped from the file. FormatError for anything else."""
    size = path.stat().st_size
    if size < 4 * len(HEADER):
        raise FormatError(f"{path}: {size} bytes, too short for a llama2.c checkpoint (its header has 28)")
    config = _config(path, dict(zip(HEADER, np.fromfile(path, "<i4", len(HEADER)).tolist(), strict=True)))
    rotary = config.seq_len * config.head_dim
    count = (config.vocab_size * config.dim * (1 if config.tied else 2) + config.dim + rotary
             + config.n_layers * sum(int(np.prod(shape)) for shape in shapes(config).values()))
    expected = 4 * (len(HEADER) + count)
    if size != expected:
        raise FormatError(f"{path}: {size} bytes, but a llama2.c checkpoint with its header has {expected}: "
                          f"{'truncated' if size < expected else 'too long'}, or no llama2.c checkpoint")
    weights = np.memmap(path, "<f4", "r", offset=4 * len(HEADER))
    if not np.isfinite(weights).all():
        raise FormatError(f"{path}: some weights are NaN or infinite")
    return _model(config, weights, rotary)


def write(path: Path, model: Llama) -> None:
    """Writes a model as a legacy checkpoint."""
    config = model.config
    header = [getattr(config, name) for name in HEADER]
    header[5] *= 1 if config.tied else -1
    parts = [model.embedding, *(getattr(layer, name) for name in ORDER for layer in model.layers), model.final_norm,
             np.zeros(config.seq_len * config.head_dim, "<f4")]
    with path.open("wb") as file:
        file.write(np.array(header, "<i4").tobytes())
        for part in [*parts, *([] if config.tied else [model.classifier])]:
            file.write(np.ascontiguousarray(part, "<f4").tobytes())


def _config(path, header):
    """The header's dimensions, checked."""
    tied = header["vocab_size"] > 0
    header["vocab_size"] = abs(header["vocab_size"])
    for name, value in header.items():
        if not 0 < value <= LIMITS[name]:
            raise FormatError(f"{path}: header says {name} = {value}, expected 1 to {LIMITS[name]}: "
                              "damaged, or no llama2.c checkpoint")
    config = ModelConfig(**header, tied=tied)
    if config.dim % config.n_heads or config.head_dim % 2 or config.n_heads % config.n_kv_heads:
        raise FormatError(f"{path}: header says dim {config.dim}, {config.n_heads} heads, {config.n_kv_heads} KV heads, "
                          "which do not divide: damaged, or no llama2.c checkpoint")
    return config


def _model(config, weights, rotary):
    """Views of the weights, in the order of the file."""
    position = 0

    def take(*shape):
        nonlocal position
        count = int(np.prod(shape))
        position += count
        return weights[position - count:position].reshape(shape)

    embedding = take(config.vocab_size, config.dim)
    kinds = {name: take(config.n_layers, *shapes(config)[name]) for name in ORDER}
    final_norm = take(config.dim)
    take(rotary)
    classifier = embedding if config.tied else take(config.vocab_size, config.dim)
    layers = [Layer(**{name: kind[index] for name, kind in kinds.items()}) for index in range(config.n_layers)]
    return Llama(config, embedding, layers, final_norm, classifier)
