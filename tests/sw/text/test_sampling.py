"""Sampling: greedy, temperature, nucleus."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marey.hdl.spec.errors import MareyError
from marey.sw.text.sampling import Sampler


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=30))
def test_greedy_takes_the_first_of_the_likeliest(logits):
    assert Sampler()(np.array(logits)) == logits.index(max(logits))


def test_draws_follow_the_softmax():
    logits = np.log(np.array([0.5, 0.3, 0.2]))
    tokens = Sampler(1.0, 1.0, 7)(np.tile(logits, (20000, 1)))
    # Four standard deviations of a frequency in 20,000 draws.
    assert np.abs(np.bincount(tokens) / 20000 - [0.5, 0.3, 0.2]).max() < 4 * np.sqrt(0.25 / 20000)


def test_nucleus_leaves_out_the_tail():
    logits = np.log(np.array([0.2, 0.5, 0.3]))
    tokens = Sampler(1.0, 0.6, 7)(np.tile(logits, (5000, 1)))
    assert set(tokens) == {1, 2}
    assert set(Sampler(1.0, 0.4, 7)(np.tile(logits, (100, 1)))) == {1}


def test_a_seed_repeats():
    logits = np.random.default_rng(0).standard_normal((50, 100))
    assert np.array_equal(Sampler(1.0, 0.9, 5)(logits), Sampler(1.0, 0.9, 5)(logits))
    assert not np.array_equal(Sampler(1.0, 0.9, 5)(logits), Sampler(1.0, 0.9, 6)(logits))


@pytest.mark.parametrize(("temperature", "top_p"), [(-1, 1), (1, 0), (1, 1.5)])
def test_bad_settings(temperature, top_p):
    with pytest.raises(MareyError):
        Sampler(temperature, top_p)
