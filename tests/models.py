"""Shapes of models to draw, and what two models must have in common to be the same."""

import numpy as np
from hypothesis import strategies as st

from marey.sw.model import Llama, ModelConfig
from marey.sw.reference import Reference


@st.composite
def shapes(draw, least_vocabulary: int = 3) -> ModelConfig:
    """Grouped, single and as many KV heads as heads; tied and untied; any width."""
    heads = draw(st.sampled_from([1, 2, 3, 4, 6]))
    return ModelConfig(
        dim=heads * 2 * draw(st.integers(1, 8)), hidden_dim=draw(st.integers(1, 70)), n_layers=draw(st.integers(1, 3)),
        n_heads=heads, n_kv_heads=draw(st.sampled_from([kv for kv in range(1, heads + 1) if heads % kv == 0])),
        vocab_size=draw(st.integers(least_vocabulary, least_vocabulary + 60)), seq_len=draw(st.integers(1, 24)),
        tied=draw(st.booleans()))


def logits(model: Llama, steps: int = 5) -> np.ndarray:
    """Float32 logits [steps, vocab] of a model, after tokens 0, 1, 2 ..."""
    reference = Reference(model)
    return np.concatenate([reference.step(np.array([position % model.config.vocab_size]), position)
                           for position in range(min(steps, model.config.seq_len))])


def assert_same(one: Llama, other: Llama) -> None:
    """The same configuration, and the same logits, bit for bit."""
    assert one.config == other.config
    assert (other.classifier is other.embedding) == other.config.tied
    assert np.array_equal(logits(one), logits(other))
