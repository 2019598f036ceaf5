"""A model is never held twice: what loading and writing one allocates, against the bytes of its
weights in float32.
"""

import tracemalloc

import numpy as np
import pytest

from marey.sw.formats import gguf, huggingface, llama2c, load_model
from marey.sw.formats.tiny import tiny_model, tiny_tokenizer
from marey.sw.model.config import ModelConfig
from marey.sw.model.families import graph_of
from tests.sw.formats.test_huggingface import convert
from tests.sw.formats.test_llama2c import versioned

CONFIG = ModelConfig(dim=256, hidden_dim=704, n_layers=6, n_heads=8, n_kv_heads=4, vocab_size=2000, seq_len=64, tied=False)
WEIGHTS = 4 * (graph_of(CONFIG).macs(-1) + CONFIG.vocab_size * CONFIG.dim + (2 * CONFIG.n_layers + 1) * CONFIG.dim)
LARGEST = 4 * CONFIG.vocab_size * CONFIG.dim
SMALL = 3 << 20
"""Bytes for tokenizers, headers and objects."""


@pytest.fixture(scope="module")
def model():
    return tiny_model(CONFIG)


def allocated(action):
    """Bytes allocated at most while an action runs; mapped files are not counted."""
    tracemalloc.start()
    try:
        kept = action()
        return tracemalloc.get_traced_memory()[1], kept
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("write", "most"), [
    (lambda path, model: llama2c.write(path, model), SMALL),
    (lambda path, model: path.write_bytes(versioned(model, 1)[0]), SMALL),
    (lambda path, model: gguf.write(path, model, tiny_tokenizer(CONFIG.vocab_size)), SMALL),
    (lambda path, model: huggingface.write(path, model, tiny_tokenizer(CONFIG.vocab_size)), WEIGHTS + LARGEST + SMALL),
    (lambda path, model: convert(path, model, tiny_tokenizer(CONFIG.vocab_size), np.float16), WEIGHTS + LARGEST + SMALL),
    (lambda path, model: path.write_bytes(versioned(model, 2, 32)[0]), WEIGHTS + LARGEST + SMALL),
    (lambda path, model: gguf.write(path, model, tiny_tokenizer(CONFIG.vocab_size), "Q8_0"), WEIGHTS + 2 * LARGEST + SMALL),
    (lambda path, model: gguf.write(path, model, tiny_tokenizer(CONFIG.vocab_size), "Q4_0"), WEIGHTS + 2 * LARGEST + SMALL),
], ids=["llama2c", "llama2c-1", "gguf-F32", "folder-F32", "folder-F16", "llama2c-2", "gguf-Q8_0", "gguf-Q4_0"])
def test_loading(tmp_path, model, write, most):
    """Float32 in one file is mapped, and allocates next to nothing; else there is one copy, and a
    tensor on its way.
    """
    write(tmp_path / "m", model)
    peak, _ = allocated(lambda: load_model(tmp_path / "m"))
    assert peak <= most < 2 * WEIGHTS, f"{peak / WEIGHTS:.2f} of the weights"


@pytest.mark.parametrize(("write", "most"), [
    (lambda path, model: llama2c.write(path, model), SMALL),
    (lambda path, model: gguf.write(path, model, tiny_tokenizer(CONFIG.vocab_size)), SMALL),
    (lambda path, model: huggingface.write(path, model, tiny_tokenizer(CONFIG.vocab_size)), WEIGHTS),
], ids=["llama2c", "gguf", "folder"])
def test_writing(tmp_path, monkeypatch, model, write, most):
    """A mapped model is written without another copy; a folder's files one after another, each of
    them one.
    """
    monkeypatch.setattr(huggingface, "SHARD", WEIGHTS // 4)
    llama2c.write(tmp_path / "m.bin", model)
    mapped = load_model(tmp_path / "m.bin")
    peak, _ = allocated(lambda: write(tmp_path / "out", mapped))
    assert peak <= most, f"{peak / WEIGHTS:.2f} of the weights"
