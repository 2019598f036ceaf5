"""The model that ships: small, on its 4-bit grid, and telling stories of the grammar, on the tile as in the golden model."""

import json
from pathlib import Path

import numpy as np
import pytest

from marey.hdl.spec.config import preset
from marey.sim.backends import open_transport
from marey.sw.compiler.compile import compile_model, compile_quantised
from marey.sw.compiler.integers import integers_for
from marey.sw.formats import DEFAULT_MODEL, load_model, load_tokenizer
from marey.sw.quant.golden import Golden
from marey.sw.quant.quality import quality
from marey.sw.quant.quantise import quantise
from marey.sw.runtime.driver import Device
from marey.sw.runtime.generate import generate
from marey.sw.text.sampling import Sampler
from marey.sw.train.judge import judge, write_stories
from marey.sw.train.plot import plot
from marey.sw.train.reader import has_a_plot
from tests.greedy import greedy_steps

PROMPT = "Once upon a time, there was a little girl named Lily."
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def model():
    return load_model(DEFAULT_MODEL)


@pytest.fixture(scope="module")
def tokenizer(model):
    return load_tokenizer(None, DEFAULT_MODEL, model.config.vocab_size)


def test_it_is_small(model):
    assert DEFAULT_MODEL.stat().st_size <= 400_000
    config = model.config
    weights = model.graph.macs(-1) // 2  # bytes, at 4 bits
    assert weights + 2 * config.n_layers * config.kv_dim * config.seq_len <= 128 << 10  # a UP5K's W-RAM


def test_weights_are_whole_steps_of_their_matrix(model):
    """Of -7 to 7: 4 bits are exact."""
    assert all((values == 1).all() for values in model.weights.values() if values.ndim == 1)
    for matrix in (values for values in model.weights.values() if values.ndim == 2):
        magnitudes = np.unique(np.abs(matrix)).astype(np.float64)
        in_steps = [magnitudes / magnitudes[-1] * largest for largest in range(1, 8)]
        assert any(np.array_equal(steps, steps.round()) for steps in in_steps)


def test_its_stories_are_stories(model, tokenizer):
    """The shares of docs/training.md, on fewer stories: by chance they may be lower, by three deviations or so."""
    written = write_stories(Golden(quantise(model), 40), tokenizer, [""] * 40, Sampler(0.8, 1.0, seed=9))
    shares = judge(written)
    assert shares["ends"] > 0.9 and shares["sentences"] > 0.8 and shares["characters"] > 0.7, shares
    assert shares["different"] > 0.9


def test_the_tile_tells_a_story(compiler, model, tokenizer):
    program = compile_model(model, preset("sim8x8"), tokenizer)
    with Device(open_transport(program.config, "verilator"), program.config) as device:
        device.load(program)
        told = generate(device, program, PROMPT, steps=256)
    integers = quantise(model, **integers_for(program.config, model.config, model))
    ((text, ended),) = write_stories(Golden(integers), tokenizer, [PROMPT], Sampler())
    assert told.text == text and ended and has_a_plot(text)
    assert told.predicted_cycles == told.measured_cycles


@pytest.fixture(scope="module")
def small(model, tokenizer):
    """The model on the tile of a UP5K."""
    return compile_model(model, preset("up5k_4x4"), tokenizer)


def test_it_is_resident_on_a_small_board(small):
    """With 128 positions, at 1,450 tokens a second and 24 MHz."""
    assert small.mode == "resident" and small.model.context == 128
    assert sum(small.cycles(position) for position in range(128)) / 128 <= 16_500
    assert len(small.image.instructions) <= 2 * 60


def test_keys_and_values_of_4_bits_are_nearly_as_good(model, small):
    assert quality(model, quantise(model, **integers_for(small.config, model.config, model))) < 1.007


@pytest.mark.slow
def test_a_small_board_tells_a_story(compiler, model, tokenizer, small):
    """All positions that it has room for, in the RTL: golden logits, cycles as predicted."""
    told, quantised = {}, quantise(model, **integers_for(small.config, model.config, model))
    for backend in ("emulator", "verilator"):
        with Device(open_transport(small.config, backend), small.config) as device:
            device.load(small)
            told[backend] = list(greedy_steps(small, quantised, device, 128))
            assert device.tally.measured == device.tally.predicted
    assert told["emulator"] == told["verilator"] and len(told["emulator"]) == 128


@pytest.mark.slow
def test_it_is_streamed_through_the_smallest_board(compiler, model):
    """All 16 positions that the HX8K's tile has room for, in the RTL."""
    quantised = quantise(model, 8)
    program = compile_quantised(quantised, preset("hx8k_2x2"))
    assert program.stream and program.model.context == 16
    with Device(open_transport(program.config, "verilator"), program.config) as device:
        device.load(program)
        assert len(list(greedy_steps(program, quantised, device, 16))) == 16


def test_the_loss_curve_is_that_of_the_log():
    assert (DOCS / "training.svg").read_text() == plot(json.loads((DOCS / "training.json").read_text()))
