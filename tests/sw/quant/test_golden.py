"""The golden model: its definition, the independence of sequences in a batch, and its quality
against float32."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from marey.hdl.spec.integer import round_shift, saturate
from marey.sim.endpoint import Endpoint
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.model.reference import Reference
from marey.sw.quant import golden
from marey.sw.quant.golden import Golden, linear
from marey.sw.quant.model import Linear
from marey.sw.quant.quantise import quantise
from marey.sw.runtime.driver import Device
from marey.sw.text.sampling import Sampler, sample_text
from marey.sw.views.evaluate import evaluate, score
from tests.configs import INT4, any_shape
from tests.outliers import outlier_model

SHAPES = [
    ModelConfig(dim=16, hidden_dim=20, n_layers=1, n_heads=2, n_kv_heads=2, vocab_size=270, seq_len=40, tied=False),
    ModelConfig(dim=64, hidden_dim=44, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=300, seq_len=40),
    ModelConfig(dim=36, hidden_dim=50, n_layers=2, n_heads=6, n_kv_heads=1, vocab_size=270, seq_len=40),
]


def test_linear_is_its_definition():
    rng = np.random.default_rng(0)
    weight, x = rng.integers(-128, 128, (5, 7)).astype(np.int8), rng.integers(-128, 128, (3, 7)).astype(np.int8)
    multiplier = rng.integers(0, 32768, (1, 5)).astype(np.int16)
    accumulators = np.array([[sum(int(a) * int(b) for a, b in zip(row, v, strict=True)) for row in weight] for v in x])
    expected = saturate(round_shift(accumulators * multiplier.astype(np.int64), 12), 16)
    assert np.array_equal(linear(Linear(weight, multiplier, 12, 7), x), expected)


@pytest.mark.parametrize("scaled", [False, True])
def test_groups_are_added_up_one_after_another(scaled):
    """Each group's part is rounded, each sum saturated, and the scalar multiplies the last sum: as
    with Python's own integers."""
    rng = np.random.default_rng(1)
    weight, x = rng.integers(-8, 8, (5, 11)).astype(np.int8), rng.integers(-128, 128, 11).astype(np.int8)
    operation = Linear(weight, rng.integers(1 << 13, 1 << 15, (3, 5)).astype(np.int16), 10, 4, rescale=3)
    scalar, plus = ((np.array([20000]), np.array([10])), 77) if scaled else (None, 77)

    def clip(value):
        return max(-32768, min(32767, value))

    expected = []
    for row, factors in zip(weight.tolist(), operation.multiplier.T.tolist(), strict=True):
        y = 0 if scaled else plus
        for group, factor in enumerate(factors):
            part = sum(row[k] * int(x[k]) for k in range(11) if k // 4 == group)
            y = clip((part * factor + 512 >> 10) + y)
        expected.append(clip((y * 20000 + (1 << 12) >> 13) + plus) if scaled else y)
    assert linear(operation, x, scalar, plus).tolist() == expected
    assert any(abs(value) < 32767 for value in expected) and scaled == (max(map(abs, expected)) >= 32767)


@pytest.mark.parametrize("config", SHAPES, ids=lambda c: f"{c.dim}x{c.n_heads}")
def test_sequences_of_a_batch_do_not_meet(config):
    model = quantise(tiny_model(config))
    tokens = np.random.default_rng(1).integers(0, config.vocab_size, (3, 12))
    together, alone = Golden(model, 3), [Golden(model) for _ in range(3)]
    for position in range(12):
        logits = together.step(tokens[:, position], position)
        for row, one in enumerate(alone):
            assert np.array_equal(one.step(tokens[row:row + 1, position], position)[0], logits[row])


@settings(max_examples=10, deadline=None, phases=set(Phase) - {Phase.shrink})
@given(data=st.data())
def test_positions_together_are_as_one_after_another(data):
    """A prompt whose positions are computed in parts of any length leaves the same cache and makes the
    same logits as one position after another, for all families and kinds of integers."""
    config = data.draw(any_shape(40))
    kind = data.draw(st.sampled_from(["plain", "balanced", "gpt2", "qwen2"]))
    if kind in ("gpt2", "qwen2"):
        config = replace(config, family=kind, n_kv_heads=config.n_heads if kind == "gpt2" else config.n_kv_heads)
    model = quantise(outlier_model(config) if kind == "balanced" else tiny_model(config),
                     4 if kind == "plain" and data.draw(st.booleans()) else 8)
    batch, count = data.draw(st.integers(1, 2)), config.seq_len - 1
    tokens = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, config.vocab_size, (batch, count + 1))
    together, alone = Golden(model, batch), Golden(model, batch)
    for position in range(count):
        alone.integers(tokens[:, position], position)
    start = 0
    while start < count:
        end = data.draw(st.integers(start + 1, count))
        together.prefill(tokens[:, start:end], start)
        start = end
    assert np.array_equal(together.keys, alone.keys) and np.array_equal(together.values, alone.values)
    for one, other in zip(together.integers(tokens[:, -1], count), alone.integers(tokens[:, -1], count), strict=True):
        assert np.array_equal(one, other)


def test_long_prompts_are_computed_in_parts(monkeypatch):
    config = SHAPES[1]
    model, tokens = quantise(tiny_model(config)), np.arange(30)[None]
    whole, parts = Golden(model), Golden(model)
    whole.prefill(tokens, 0)
    monkeypatch.setattr(golden, "TOGETHER", 7)
    parts.prefill(tokens, 0)
    assert np.array_equal(whole.keys, parts.keys) and np.array_equal(whole.values, parts.values)


@pytest.mark.parametrize("config", SHAPES, ids=lambda c: f"{c.dim}x{c.n_heads}")
def test_follows_float32(config):
    """The root mean square error of a random model's logits is below 5 % of their standard
    deviation.

    The bound is wide, because all values are int8 and the models have few channels.
    """
    model = tiny_model(config)
    tokens = np.random.default_rng(2).integers(0, config.vocab_size, (4, 30))
    reference, golden = Reference(model, 4), Golden(quantise(model), 4)
    exact, logits = (np.stack([model.step(tokens[:, position], position) for position in range(30)])
                     for model in (reference, golden))
    assert np.sqrt(np.mean((logits - exact) ** 2)) < 0.05 * np.std(exact)


def test_quality_of_stories(stories):
    result = evaluate(stories, quants=("int8", "int4"))
    assert result["tokens"] >= 1000
    assert result["int8"]["ratio"] <= 1.01 and result["int8"]["top1_agreement"] > 0.9
    assert 1.01 < result["int4"]["ratio"] <= 1.10 and result["int4"]["top1_agreement"] > 0.8


def test_the_tile_is_judged_like_the_golden_model(tiny):
    config = next(config for config in INT4 if config.name == "q8")
    result = evaluate(tiny, quants=("int4",), tile=lambda: Device(Endpoint(config), config), tile_tokens=40)
    assert result["tokens"] >= 40 and result["tile"] == result["int4"]


def test_evaluation_tells_good_from_bad(stories):
    """The score is worse on random tokens than on text that the model has written."""
    from marey.sw.formats import load_model

    model = load_model(stories)
    own = sample_text(Reference(model, 4), 60, Sampler(1.0, 1.0, 3), 4)
    noise = np.random.default_rng(0).integers(3, 512, own.shape)
    good, bad = (score({"m": Reference(model, 4)}, tokens)[0]["m"].mean() for tokens in (own, noise))
    assert bad > 2 * good


def test_greedy_text_of_stories(stories):
    from marey.sw.formats import load_model, load_tokenizer

    model, tokenizer = load_model(stories), load_tokenizer(None, stories, 512)
    reference, tokens = Reference(model), [1]
    for position in range(100):
        tokens.append(int(reference.step(np.array(tokens[-1:]), position).argmax()))
    expected = stories.with_suffix(".float32-greedy.txt").read_text()
    text = tokenizer.decode(tokens)
    assert len(text) > 200 and expected.startswith(text)
