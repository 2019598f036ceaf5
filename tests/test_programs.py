"""Drawn programs: the emulator and the RTL agree on those that the rules call legal."""

import random

import pytest

from marey.hdl.timing import violations
from tests.configs import CONFIGS
from tests.programs import Author, any_configuration, campaign, drawn
from tests.programs.__main__ import open_machines
from tests.programs.campaign import simulate_on

SEED, PROGRAMS = 5, 150
"""Of the programs on one tile of each kind, which `python -m tests.mutants` uses, too."""


def test_a_short_campaign_finds_nothing():
    """Fixed seeds; `python -m tests.programs` draws others for as long as it is told to."""
    found = campaign(60, seed=6, configurations=1, programs=4)
    assert found.failures == [], found.report()
    assert found.legal > 0, found.report()


@pytest.mark.parametrize("config", [CONFIGS[0], CONFIGS[5]], ids=lambda config: config.name)
def test_many_programs_on_one_tile_of_each_kind(compiler, config):
    """In Verilator, on tiles that other tests compile, too."""
    found = simulate_on(config, random.Random(SEED), PROGRAMS, open_machines)
    assert found.failures == [], found.report()
    assert found.legal > 0.25 * PROGRAMS, found.report()


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
