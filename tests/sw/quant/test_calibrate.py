"""Calibration: how much text a model writes, where it begins, and that it is enough for late positions."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marey.hdl.spec.config import preset
from marey.sw.compiler.integers import integers_for
from marey.sw.formats import load_model
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.model.reference import Reference
from marey.sw.quant import calibrate
from marey.sw.quant.golden import Golden
from marey.sw.quant.quality import log_probabilities
from marey.sw.quant.quantise import quantise
from marey.sw.text.sampling import Sampler, sample_text

SHAPE = ModelConfig(dim=16, hidden_dim=20, n_layers=1, n_heads=2, n_kv_heads=1, vocab_size=40, seq_len=24)
TEXTS, LENGTH = 4, 500
"""Texts of stories260K, and tokens of each, nearly as many as its context has positions."""


def places(model):
    """(steps, texts, starts) of a model's calibration."""
    steps, texts = calibrate.steps_of(model), calibrate.texts_of(model)
    return steps, texts, calibrate._starts(model, steps, texts)


@given(positions=st.integers(1, 9000))
def test_texts_lie_within_the_context_and_reach_its_end(positions):
    model = tiny_model(replace(SHAPE, seq_len=positions))
    steps, texts, starts = places(model)
    assert 1 <= steps <= min(256, positions) and steps * texts <= 4096 < steps * (texts + 1)
    assert starts.shape == (texts,) and starts[0] == 0 and (np.diff(starts) >= 0).all()
    assert starts[-1] + steps == positions


def test_texts_begin_at_0_where_positions_are_learned_and_in_large_models(monkeypatch):
    learned = tiny_model(replace(SHAPE, family="gpt2", n_kv_heads=2, seq_len=600))
    assert not places(learned)[2].any() and places(learned)[:2] == (256, 16)
    monkeypatch.setattr(calibrate, "MANY_MACS", 100)
    large = tiny_model(replace(SHAPE, seq_len=600))
    assert not places(large)[2].any() and places(large)[:2] == (48, 32)
    assert calibrate.tokens_of(large) == 1536


@pytest.mark.parametrize(("tile", "most"), [("sim8x8", 1.006), ("sim8x8_int4", 1.12)])
def test_integers_are_as_good_at_the_end_of_the_context(stories, tile, most):
    """Relative entropy to float32, as a ratio, at the positions behind the longest text of calibration: with texts that all
    begin at 0 it was 1.020 in int8, and 1.11 in int4."""
    model = load_model(stories)
    reference, logits = Reference(model, TEXTS), []
    step = reference.step
    reference.step = lambda tokens, position: logits.append(step(tokens, position)) or logits[-1]
    tokens = sample_text(reference, LENGTH, Sampler(1.0, 1.0, 1), TEXTS)
    golden = Golden(quantise(model, **integers_for(preset(tile), model.config, model)), TEXTS)
    found = [log_probabilities(golden.texts(tokens[:, start:start + 50], start)) for start in range(0, LENGTH, 50)]
    wanted = log_probabilities(np.stack(logits, axis=1))
    lost = (np.exp(wanted) * (wanted - np.concatenate(found, axis=1))).sum(axis=-1)[:, calibrate.STEPS:]
    print(f"{tile}: {np.exp(lost.mean()):.4f}")
    assert np.exp(lost.mean()) < most
