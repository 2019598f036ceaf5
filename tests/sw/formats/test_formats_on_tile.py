"""One model through every format: the same float32 logits, and the same tokens from the tile."""

import numpy as np
import pytest

from marey.hdl.spec.config import preset
from marey.sim.backends import open_transport
from marey.sw.compiler.compile import compile_model
from marey.sw.formats import gguf, huggingface, load_model, load_tokenizer
from marey.sw.formats.tiny import write_tiny
from marey.sw.model.config import ModelConfig
from marey.sw.model.reference import Reference
from marey.sw.runtime.driver import Device
from marey.sw.runtime.generate import generate
from tests.models import assert_same
from tests.sw.formats.test_huggingface import convert

TINY = ModelConfig(dim=32, hidden_dim=44, n_layers=1, n_heads=4, n_kv_heads=2, vocab_size=384, seq_len=32)
PROMPT = "Once upon a time, there was a little girl named Lily."


@pytest.fixture(scope="module")
def files(stories, tmp_path_factory):
    """stories260K in each format; the folder converted by the test as well as by Marey."""
    folder = tmp_path_factory.mktemp("stories")
    model, tokenizer = load_model(stories), load_tokenizer(None, stories, 512)
    for dtype in ("F32", "Q8_0"):
        gguf.write(folder / f"{dtype}.gguf", model, tokenizer, dtype)
    huggingface.write(folder / "written", model, tokenizer)
    convert(folder / "converted", model, tokenizer)
    return {"llama2c": stories, "F32": folder / "F32.gguf", "folder": folder / "written", "converted": folder / "converted",
            "Q8_0": folder / "Q8_0.gguf"}


def test_logits(files):
    """Lossless: bit for bit. Q8_0 keeps 8 bits of each weight: a hundredth of the logits' spread or
    two.
    """
    exact, rounded = load_model(files["llama2c"]), load_model(files["Q8_0"])
    tokens = load_tokenizer(None, files["llama2c"], 512).encode(PROMPT)
    for name in ("F32", "folder", "converted"):
        assert_same(exact, load_model(files[name]))
    for name in files:
        assert load_tokenizer(None, files[name], 512).encode(PROMPT) == tokens
    one, other = Reference(exact), Reference(rounded)
    for position, token in enumerate(tokens):
        right, near = (reference.step(np.array([token]), position) for reference in (one, other))
        assert np.abs(near - right).max() < 0.1 * np.ptp(right)


def told(path, config, backend, steps, prompt):
    """A story from the tile."""
    model = load_model(path)
    program = compile_model(model, config, load_tokenizer(None, path, model.config.vocab_size))
    with Device(open_transport(config, backend), config) as device:
        device.load(program)
        return generate(device, program, prompt, steps)


def test_tokens_of_a_tiny_model(tmp_path):
    tiny = write_tiny(tmp_path, TINY)
    model, tokenizer = load_model(tiny), load_tokenizer(None, tiny, TINY.vocab_size)
    gguf.write(tmp_path / "tiny.gguf", model, tokenizer)
    convert(tmp_path / "folder", model, tokenizer)
    stories = [told(path, preset("tiny4x8"), "emulator", 6, "once upon")
               for path in (tiny, tmp_path / "tiny.gguf", tmp_path / "folder")]
    assert stories[0] == stories[1] == stories[2] and len(stories[0].tokens) == 6


@pytest.mark.slow
def test_tokens_of_stories(compiler, files):
    """In Verilator: lossless formats tell the same story in the same cycles; Q8_0's begins as it
    does.
    """
    told_by = {name: told(path, preset("sim8x8"), "verilator", 64, "Once upon a time") for name, path in files.items()}
    for name in ("F32", "folder", "converted"):
        assert told_by[name] == told_by["llama2c"], name
    assert told_by["Q8_0"].text[:40] == told_by["llama2c"].text[:40]
