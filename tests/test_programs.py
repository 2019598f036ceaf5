"""Drawn programs: the emulator and the RTL agree on those that the rules call legal."""

import random

import pytest

from marey.hdl.timing import violations
from tests.programs import Author, any_configuration, campaign, drawn


def test_a_short_campaign_finds_nothing():
    """Fixed seeds; `python -m tests.programs` draws others for as long as it is told to."""
    found = campaign(60, seed=6, configurations=1, programs=4)
    assert found.failures == [], found.report()
    assert found.legal > 0, found.report()


@pytest.mark.slow
def test_a_long_campaign_finds_nothing():
    found = campaign(1800, seed=1)
    assert found.failures == [], found.report()
    assert found.legal > 0.2 * found.programs


def test_the_same_seed_draws_the_same_programs():
    both = []
    for _ in range(2):
        rng = random.Random(5)
        config = any_configuration(rng)
        both.append([config, drawn(Author(config, rng))])
    assert both[0] == both[1]
    assert violations(*both[0]) == violations(*both[1])
