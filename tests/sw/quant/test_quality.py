"""The quality of integers: 1 for a good model, more for a worse one, and near the ratio of perplexities."""

from dataclasses import replace

import numpy as np
import pytest

from marey.sw.formats import load_model
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.quant.quality import log_probabilities, quality
from marey.sw.quant.quantise import quantise
from marey.sw.views.evaluate import evaluate

SHAPE = ModelConfig(dim=32, hidden_dim=44, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=270, seq_len=40)


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_worse_integers_are_judged_worse(family):
    model = tiny_model(replace(SHAPE, family=family, n_kv_heads=4 if family == "gpt2" else 2))
    eight, four = quantise(model), quantise(model, 4)
    damaged = replace(eight, linears=eight.linears | {
        "layers.1.wo": replace(eight.linears["layers.1.wo"], weight=eight.linears["layers.1.wo"].weight[::-1])})
    ratios = [quality(model, integers) for integers in (eight, four, damaged)]
    assert 1 <= ratios[0] < 1.02 and ratios == sorted(ratios) and ratios[2] > 1.2


@pytest.mark.slow
def test_it_is_the_ratio_of_perplexities(tiny):
    """On 4,000 tokens of the model's own text, of another seed, within 30 % of the loss."""
    model = load_model(tiny)
    ratio = evaluate(tiny, quants=["int4"])["int4"]["ratio"]
    assert quality(model, quantise(model, 4)) - 1 == pytest.approx(ratio - 1, rel=0.3) and ratio > 1.01


def test_log_probabilities():
    logits = np.array([[0, 1000, 999], [5, 5, 5]], np.float32)
    assert np.allclose(np.exp(log_probabilities(logits)), [[0, 1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))], [1 / 3] * 3])
