"""Shapes of models to draw, and what two models must have in common to be the same."""

import numpy as np
from hypothesis import strategies as st

from marey.sw.model.config import ModelConfig
from marey.sw.model.model import Model
from marey.sw.model.reference import Reference


@st.composite
def shapes(draw, least_vocabulary: int = 3) -> ModelConfig:
    """Grouped, single and as many KV heads as heads; tied and untied; any width."""
    heads = draw(st.sampled_from([1, 2, 3, 4, 6]))
    return ModelConfig(
        dim=heads * 2 * draw(st.integers(1, 8)), hidden_dim=draw(st.integers(1, 70)), n_layers=draw(st.integers(1, 3)),
        n_heads=heads, n_kv_heads=draw(st.sampled_from([kv for kv in range(1, heads + 1) if heads % kv == 0])),
        vocab_size=draw(st.integers(least_vocabulary, least_vocabulary + 60)), seq_len=draw(st.integers(1, 24)),
        tied=draw(st.booleans()))


def without_gains(model: Model, axis: int | None = None) -> Model:
    """A model's matrices on grids of 4 bits, one grid along an axis if one is given, else one a matrix; its norms' gains 1."""
    def plain(values):
        if values.ndim == 1:
            return np.ones_like(values)
        step = np.abs(values).max(axis=axis, keepdims=True) / 7
        return np.rint(values / step) * step

    weights = {name: plain(values) for name, values in model.weights.items()}
    return Model(model.config, weights | ({"classifier": weights["embedding"]} if model.config.tied else {}))


def logits(model: Model, steps: int = 5) -> np.ndarray:
    """Float32 logits [steps, vocab] of a model, after tokens 0, 1, 2 ..."""
    reference = Reference(model)
    return np.concatenate([reference.step(np.array([position % model.config.vocab_size]), position)
                           for position in range(min(steps, model.config.seq_len))])


def assert_same(one: Model, other: Model) -> None:
    """The same configuration, and the same logits, bit for bit."""
    assert one.config == other.config
    assert (other["classifier"] is other["embedding"]) == other.config.tied
    assert np.array_equal(logits(one), logits(other))
