"""The float reference: where a sequence starts changes how queries and keys are turned, and nothing else."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.model.graph import Kind
from marey.sw.model.reference import Reference

MODEL = tiny_model(ModelConfig(dim=16, hidden_dim=20, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=40, seq_len=300))
STEPS = 12
TURNED = {f"{layer}.{each.output.name}" for layer in range(2) for each in MODEL.graph.of_kind(Kind.ROTATE)}
"""Names of the turned queries and keys."""


def run(tokens, starts=None):
    """All values of the token rows [batch, STEPS] by name, float64 [steps, batch, ...]; without those of which the shape
    depends on the position."""
    seen = {}
    reference = Reference(MODEL, len(tokens), lambda name, value: seen.setdefault(name, []).append(value), np.float64, starts)
    for position in range(STEPS):
        reference.step(tokens[:, position], position)
    return {name: np.stack(values) for name, values in seen.items() if len({each.shape for each in values}) == 1}


def close(one, other):
    """Whether values are the same. Angles of late positions have fewer bits behind the point."""
    return np.allclose(one, other, rtol=0, atol=1e-9)


@given(starts=st.lists(st.integers(0, MODEL.config.seq_len - STEPS), min_size=1, max_size=4), seed=st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_a_start_turns_queries_and_keys_only(starts, seed):
    tokens = np.random.default_rng(seed).integers(0, MODEL.config.vocab_size, (len(starts), STEPS))
    values, moved = run(tokens), run(tokens, np.array(starts))
    assert values.keys() > TURNED and "logits" in values
    assert {name for name in values if not close(values[name], moved[name])} == (TURNED if any(starts) else set())
    for name in TURNED:
        lengths, moved_lengths = (np.hypot(each[name][..., ::2], each[name][..., 1::2]) for each in (values, moved))
        assert close(lengths, moved_lengths)


def test_queries_and_keys_are_those_of_the_later_position():
    """In the first layer they depend on the token and its position only."""
    (name,) = (name for name in TURNED if name.startswith("0."))
    tokens = np.full((1, STEPS), 5)
    assert close(run(tokens)[name][7:], run(tokens, np.array([7]))[name][:-7])
