"""Weights of 4 bits with offsets: grids that are found, rounding, and what is kept of a model whose weights lie on a grid."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marey.sw.model.config import ModelConfig
from marey.sw.model.graph import Kind
from marey.sw.model.integer_graph import WEIGHT_GROUP
from marey.sw.model.model import Model
from marey.sw.model.reference import Reference
from marey.sw.quant.affine import LEAST, MOST, affine_gptq, on_affine_grid, with_offsets
from marey.sw.quant.golden import Golden
from marey.sw.quant.quantise import quantise
from tests.outliers import outlier_model

SHAPE = ModelConfig(dim=96, hidden_dim=160, n_layers=2, n_heads=3, n_kv_heads=1, vocab_size=50, seq_len=12)


def real(made):
    """The weights that values, steps and offsets stand for."""
    inputs = made.values.shape[1]
    step, offset = (each.repeat(made.group, axis=0)[:inputs].T for each in (made.step, made.offset))
    return made.values * step + offset


def on_q4_1(weight):
    """Weights rounded as the blocks of Q4_1 have them: 16 levels from the smallest to the largest."""
    parts = [weight[:, start:start + WEIGHT_GROUP] for start in range(0, weight.shape[1], WEIGHT_GROUP)]
    made = []
    for part in parts:
        least = part.min(axis=1, keepdims=True)
        step = np.maximum(np.ptp(part, axis=1, keepdims=True), 1e-9) / 15
        made.append(np.rint((part - least) / step) * step + least)
    return np.concatenate(made, axis=1).astype(np.float32)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 70), st.sampled_from([4, 16, 32]))
def test_weights_on_a_grid_keep_their_values(seed, outputs, inputs, group):
    generator = np.random.default_rng(seed)
    groups = -(-inputs // group)
    levels = generator.integers(0, generator.integers(1, 17), (outputs, inputs))
    step, least = (generator.normal(size=(outputs, groups)).repeat(group, axis=1)[:, :inputs] for _ in range(2))
    weight = (levels * step + least).astype(np.float32)
    made = on_affine_grid(weight, group)
    assert made.values.min() >= LEAST and made.values.max() <= MOST
    assert np.abs(real(made) - weight).max() <= 1e-4 * np.abs(step).max()


def test_other_weights_lie_on_no_grid():
    assert on_affine_grid(np.random.default_rng(0).normal(size=(3, 64)), 32) is None


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 70))
def test_rounding_without_correlation_is_within_half_a_step(seed, outputs, inputs):
    """With inputs that are not correlated GPTQ compensates nothing. Clipped weights may be further away."""
    weight = np.random.default_rng(seed).uniform(-1, 1, (outputs, inputs))
    made = affine_gptq(weight, np.eye(inputs), 32)
    away = np.abs(real(made) - weight) / made.step.repeat(32, axis=0)[:inputs].T
    clipped = (made.values == LEAST) | (made.values == MOST)
    assert (away[~clipped] <= 0.5 + 1e-6).all() and (np.abs(real(made) - weight) < 0.6).all()


@given(st.integers(0, 2**32 - 1), st.sampled_from([(5, 64), (3, 40), (4, 1100)]))
def test_a_product_with_sums_is_the_product(seed, shape):
    """The matrix for a joined vector, times the vector, is weight @ x, but for the 8 bits of an offset."""
    generator = np.random.default_rng(seed)
    weight, x = on_q4_1(generator.normal(size=shape)), generator.integers(-128, 128, shape[1])
    made = on_affine_grid(weight, WEIGHT_GROUP)
    values, steps, offsets = with_offsets(made, 1.0, 1.0)
    starts = np.arange(0, shape[1], WEIGHT_GROUP)
    sums = np.add.reduceat(x, starts)
    joined = np.concatenate([np.pad(each, (0, -len(each) % WEIGHT_GROUP)) for each in (x, sums, sums)])
    parts = (values * joined).reshape(len(weight), -1, WEIGHT_GROUP).sum(axis=2)
    found = (parts * np.concatenate([steps, offsets]).T).sum(axis=1)
    assert values.min() >= LEAST and values.max() <= MOST
    bound = np.abs(made.offset).max(axis=0) / 119 / 2 * np.abs(sums).sum()
    assert (np.abs(found - weight @ x) <= bound * 1.01 + 1e-3).all()


@cache
def models():
    """(a model with outliers whose matrices in layers lie on the grid of Q4_1, the same before)."""
    drawn = outlier_model(SHAPE)
    layers = {name for operation in drawn.graph.of_kind(Kind.LINEAR) for layer in range(SHAPE.n_layers)
              for name in (f"layers.{layer}.{each}" for each in operation.weights) if name in drawn.weights}
    weights = {name: on_q4_1(each) if name in layers else each for name, each in drawn.weights.items()}
    return Model(drawn.config, weights, drawn.graph), drawn


def error(model, quantised):
    """The relative error of the golden model's logits, over 6 positions of 4 drawn texts."""
    tokens = np.random.default_rng(0).integers(0, SHAPE.vocab_size, (4, 6))
    reference, golden, found = Reference(model, 4), Golden(quantised, 4), []
    for position in range(tokens.shape[1]):
        exact = reference.step(tokens[:, position], position)
        found.append((golden.step(tokens[:, position], position) - exact, exact))
    away, exact = (np.array(each) for each in zip(*found, strict=True))
    return np.sqrt((away**2).mean() / (exact**2).mean())


def test_a_model_on_a_grid_loses_little():
    """Its weights are exact, so its logits are about as good as with weights of 8 bits."""
    on_grid, drawn = models()
    made = quantise(on_grid, 4)
    assert made.balanced and made.offsets
    assert error(on_grid, made) < 1.25 * error(on_grid, quantise(on_grid, 8))
    assert error(drawn, quantise(drawn, 4)) > 1.4 * error(drawn, quantise(drawn, 8))


def test_heads_that_a_group_does_not_fit_have_one_unit():
    shape = replace(SHAPE, n_heads=6, n_kv_heads=2)
    assert shape.head_dim % WEIGHT_GROUP
    assert not quantise(outlier_model(shape), 4).balanced


def test_the_largest_embedding_has_two_halves_of_4_bits():
    made = quantise(models()[0], 4)
    assert np.abs(made.embedding.astype(int)).max() == pytest.approx(119, abs=1)
