"""Sampling: greedy, temperature, nucleus."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marey.hdl.spec.errors import MareyError
from marey.sw.text.sampling import REPEAT_WINDOW, Sampler, penalised


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


def test_draws_stay_what_they_were():
    """A seed gives the same text as it did when there were only a temperature and top-p."""
    logits = np.random.default_rng(3).standard_normal((24, 50)) * 3
    one_by_one = Sampler(0.8, 0.9, 7)
    assert [int(one_by_one(row)) for row in logits] == [
        9, 47, 42, 31, 47, 42, 29, 4, 2, 18, 13, 28, 17, 25, 18, 22, 9, 34, 40, 43, 37, 21, 13, 22]
    assert Sampler(1.2, 1.0, 7)(logits).tolist() == [
        9, 2, 24, 31, 47, 34, 29, 11, 18, 18, 37, 28, 17, 25, 15, 13, 28, 45, 17, 26, 14, 0, 2, 22]


def drawn(sampler, probabilities, before=()):
    """The tokens that a sampler draws in 3,000 tries."""
    return set(sampler(np.tile(np.log(np.array(probabilities)), (3000, 1)), before))


def test_top_k_and_min_p_leave_out_the_tail():
    probabilities = [0.1, 0.4, 0.3, 0.2]
    assert drawn(Sampler(1.0, top_k=2), probabilities) == {1, 2}
    assert drawn(Sampler(1.0, top_k=9), probabilities) == {0, 1, 2, 3}
    assert drawn(Sampler(1.0, min_p=0.6), probabilities) == {1, 2}
    assert drawn(Sampler(1.0, min_p=1.0), probabilities) == {1}
    # Of the two likeliest, 0.4 and 0.3, the first has 57 %.
    assert drawn(Sampler(1.0, top_p=0.56, top_k=2), probabilities) == {1}
    assert drawn(Sampler(1.0, top_p=0.58, top_k=2), probabilities) == {1, 2}


def test_a_repeat_penalty_follows_its_formula():
    logits, tokens = np.array([2.0, -1.0, 0.5, 3.0]), [0, 1, 0]
    assert penalised(logits, tokens, 2.0).tolist() == [1.0, -2.0, 0.5, 3.0]
    assert penalised(logits, tokens, 1.0) is logits and penalised(logits, [], 2.0) is logits
    assert not Sampler(repeat_penalty=1.1).greedy
    assert Sampler(repeat_penalty=2.0)(np.array([3.0, 2.0]), [0]) == 1
    forgotten = [0, *[1] * REPEAT_WINDOW]
    assert Sampler(repeat_penalty=2.0)(np.array([3.0, 2.0]), forgotten) == 0


@pytest.mark.parametrize("settings", [{"top_k": -1}, {"min_p": -0.1}, {"min_p": 1.1}, {"repeat_penalty": 0.5},
                                      {"repeat_penalty": float("nan")}, {"min_p": float("nan")}])
def test_other_bad_settings(settings):
    with pytest.raises(MareyError):
        Sampler(1.0, **settings)
