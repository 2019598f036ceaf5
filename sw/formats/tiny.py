"""A tiny random model and its tokenizer, for tests. Its shapes are right; its text is gibberish."""

from pathlib import Path

import numpy as np

from ..model.config import ModelConfig
from ..model.families import weight_shapes
from ..model.model import Model
from ..text.tokenizer import SPACE, Tokenizer
from . import llama2c
from .vocabulary import sentencepiece

WORDS = ("the a once upon time there was little girl boy dog cat named Tim Sue and to play in park with ball big red happy "
         "sad she he it they saw said went day one very friend mom dad house tree sun . , !").split()
SHAPE = ModelConfig(dim=64, hidden_dim=172, n_layers=2, n_heads=8, n_kv_heads=4, vocab_size=384, seq_len=128, tied=False)
"""The shape of stories260K with fewer layers and tokens. Untied, for a random tied model repeats
one word.
"""


def tiny_model(config: ModelConfig = SHAPE, seed: int = 0) -> Model:
    """Random float32 weights that keep activations near 1."""
    rng = np.random.default_rng(seed)

    def weight(*shape):
        if len(shape) == 1:
            return (1 + 0.1 * rng.standard_normal(shape)).astype(np.float32)
        return (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)

    shapes = weight_shapes(config)
    weights = {"embedding": weight(*shapes["embedding"]) * np.float32(2)}
    # The classifier is drawn before the final norm.
    for name in sorted(shapes.keys() - weights, key=lambda name: (name == "final_norm", list(shapes).index(name))):
        weights[name] = weight(*shapes[name]) - name.endswith("_bias")
    return Model(config, weights)


def tiny_tokenizer(vocab_size: int = SHAPE.vocab_size) -> Tokenizer:
    """A tokenizer of bytes and letters, and of as many words as the vocabulary has room for."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), SPACE]
    for word in WORDS:
        for text in (*word, *(f"{SPACE}{word}"[:end] for end in range(2, len(word) + 2))):
            if text not in pieces:
                pieces.append(text)
    pieces += [f"<unused {index}>" for index in range(len(pieces), vocab_size)]
    return sentencepiece(pieces[:vocab_size], [-float(index) for index in range(vocab_size)], {1, 2}, 1)


def write_tiny(folder: Path, config: ModelConfig = SHAPE, seed: int = 0) -> Path:
    """Writes checkpoint and tokenizer as llama2.c files; returns the path of the checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.bin"
    llama2c.write(path, tiny_model(config, seed), tiny_tokenizer(config.vocab_size))
    return path
