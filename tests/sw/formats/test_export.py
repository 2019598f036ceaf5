"""Models of any shape through every format and back: the same logits, bit for bit, and the same
tokenizer.
"""

import resource
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.sw.formats import gguf, huggingface, llama2c, load_model, load_tokenizer
from marey.sw.formats.tiny import tiny_model, tiny_tokenizer
from marey.sw.model.model import Model
from tests.models import assert_same, shapes

WRITERS = {
    "m.gguf": gguf.write,
    "m.bin": lambda path, model, tokenizer: llama2c.write(path, model, tokenizer),
    "m": huggingface.write,
}
TEXT = "once upon a hé, 12"


@settings(max_examples=40, deadline=None)
@given(config=shapes(270), seed=st.integers(0, 100), way=st.lists(st.sampled_from(sorted(WRITERS)), max_size=4))
def test_any_way_through_the_formats(tmp_path_factory, config, seed, way):
    folder, model, tokenizer = tmp_path_factory.mktemp("way"), tiny_model(config, seed), tiny_tokenizer(config.vocab_size)
    found, words = model, tokenizer
    for number, name in enumerate(way):
        (folder / str(number)).mkdir()
        path = folder / str(number) / name
        WRITERS[name](path, found, words)
        found, words = load_model(path), load_tokenizer(None, path, config.vocab_size)
    assert_same(model, found)
    assert words.encode(TEXT) == tokenizer.encode(TEXT)


@settings(max_examples=20, deadline=None)
@given(config=shapes(270), theta=st.sampled_from([500.0, 50000.0, 1e6]), eps=st.sampled_from([1e-6, 2e-5, 1e-12]),
       seq_len=st.integers(1, 8192), eos=st.sampled_from([(), (5,), (2, 7), (7, 2, 3)]))
def test_facts_of_a_model(tmp_path_factory, config, theta, eps, seq_len, eos):
    """What llama2.c's format has no place for goes through the others; `eos` of none becomes the
    usual one.
    """
    folder = tmp_path_factory.mktemp("facts")
    model = tiny_model(replace(config, rope_theta=theta, norm_eps=eps, seq_len=seq_len, eos=eos or (2,)))
    for name in ("m.gguf", "m"):
        WRITERS[name](folder / name, model, tiny_tokenizer(config.vocab_size))
        assert load_model(folder / name).config == model.config


@pytest.mark.parametrize(("dtype", "levels"), [("Q8_0", 127), ("Q4_0", 8)])
@settings(max_examples=10, deadline=None)
@given(config=shapes(270))
def test_rounded_once(tmp_path_factory, dtype, levels, config):
    """Quantised: off by a step at most, and no further when written again as it is."""
    folder, tokenizer = tmp_path_factory.mktemp("q"), tiny_tokenizer(config.vocab_size)
    config = replace(config, dim=32 * config.n_heads, hidden_dim=64)
    model = tiny_model(config)
    gguf.write(folder / "q.gguf", model, tokenizer, dtype)
    rounded = load_model(folder / "q.gguf")
    for name in ("wq", "wk", "wv", "wo", "w1", "w2", "w3"):
        one, other = (each[f"layers.0.{name}"].reshape(-1, 32) for each in (model, rounded))
        step = np.abs(one).max(axis=1) / levels
        assert (np.abs(one - other).max(axis=1) <= 1.01 * step).all(), name
    gguf.write(folder / "f.gguf", rounded, tokenizer)
    assert_same(rounded, load_model(folder / "f.gguf"))


def test_a_folder_of_several_files(tmp_path, monkeypatch):
    """Written in shards when it is large, and nothing is left of what was there before."""
    config, tokenizer = replace(tiny_model().config, vocab_size=300), tiny_tokenizer(300)
    model: Model = tiny_model(config)
    huggingface.write(tmp_path / "m", model, tokenizer)
    monkeypatch.setattr(huggingface, "SHARD", 40_000)
    huggingface.write(tmp_path / "m", model, tokenizer)
    assert len(list((tmp_path / "m").glob("*.safetensors"))) > 3 and not (tmp_path / "m" / "model.safetensors").exists()
    assert_same(model, load_model(tmp_path / "m"))
    monkeypatch.undo()
    huggingface.write(tmp_path / "m", model, tokenizer)
    assert [path.name for path in sorted((tmp_path / "m").iterdir())] == ["config.json", "model.safetensors", "tokenizer.json"]


def contents(folder):
    """Every file below a folder, and what is in it."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Interrupting(dict):
    """Weights that Ctrl-C interrupts when the `count`-th of them is read."""

    def __init__(self, weights, count):
        super().__init__(weights)
        self._left = count

    def __getitem__(self, name):
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt
        return super().__getitem__(name)


@pytest.fixture
def largest_file():
    """A function that sets the bytes beyond which no file may grow, as on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, old)


@pytest.mark.parametrize("name", sorted(WRITERS))
@pytest.mark.parametrize("there", [False, True])
def test_what_is_not_written_whole_leaves_what_was_there(name, there, tmp_path, largest_file, monkeypatch):
    """A full disk and Ctrl-C, early and late: all files of the old model, or none."""
    monkeypatch.setattr(huggingface, "SHARD", 20_000)
    config, path = tiny_model().config, tmp_path / name
    old, new, words = tiny_model(config, 1), tiny_model(config, 2), tiny_tokenizer(config.vocab_size)
    if there:
        WRITERS[name](path, old, words)
    before = contents(tmp_path)
    for size in (100, 1000, 15_000):
        largest_file(size)
        with pytest.raises(OSError) as caught:
            WRITERS[name](path, new, words)
        assert str(tmp_path) in str(caught.value.filename) and caught.value.strerror, size
        assert contents(tmp_path) == before
    largest_file(resource.RLIM_INFINITY)
    for count in (0, 5, len(new.weights) - 1):
        with pytest.raises(KeyboardInterrupt):
            WRITERS[name](path, replace(new, weights=Interrupting(new.weights, count)), words)
        assert contents(tmp_path) == before
    assert path.exists() == there
    WRITERS[name](path, new, words)
    assert_same(new, load_model(path))
