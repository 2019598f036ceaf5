"""Drawn programs: the emulator and the RTL agree on those that the rules call legal."""

import random
from collections import Counter

import pytest

from marey.hdl.spec.packing import pack_program
from marey.hdl.spec.protocol import Space
from marey.hdl.timing import ProgramError, Unit, violations
from marey.sim import verilator
from marey.sim.simulation import ScheduleFault
from marey.sw.runtime.link import Link
from tests.configs import CONFIGS, codes
from tests.programs import Author, any_configuration, campaign, drawn, gates
from tests.programs.__main__ import open_machines
from tests.programs.campaign import how_started, simulate_on, takes_long

PROMISES = {what for unit in Unit
            for what in (unit.facts.clash if unit.rival is unit else "", unit.facts.alone)} - {""}
"""Rules that the hardware tests as well."""
SAMPLES = [{"seed": 5, "programs": 150, "many": 0.25}, {"seed": 5, "programs": 100, "many": 1}]
"""Programs on one tile of each kind: of all sorts, and with many beats. `python -m tests.mutants` uses them, too."""


def test_a_short_campaign_finds_nothing():
    """Fixed seeds; `python -m tests.programs` draws others for as long as it is told to."""
    found = campaign(60, seed=18, configurations=1, programs=4)
    assert found.failures == [], found.report()
    assert found.legal > 0, found.report()


@pytest.mark.parametrize("sample", SAMPLES, ids=["all", "long"])
@pytest.mark.parametrize("config", [CONFIGS[0], CONFIGS[5]], ids=lambda config: config.name)
def test_many_programs_on_one_tile_of_each_kind(compiler, config, sample):
    """In Verilator, on tiles that other tests compile, too."""
    found = simulate_on(config, random.Random(sample["seed"]), sample["programs"], open_machines, many=sample["many"])
    assert found.failures == [], found.report()
    assert found.legal > 0.2 * found.programs, found.report()


@pytest.mark.parametrize("config", [CONFIGS[0], CONFIGS[5]], ids=lambda config: config.name)
def test_the_hardware_finds_broken_promises(compiler, config):
    """Programs that break only rules which are assertions of the hardware, too: each fails one."""
    rng, found = random.Random(7), Counter()
    author = Author(config, rng)
    for _ in range(400):
        program, how = drawn(author), how_started(config, rng)
        if not takes_long(config, program, how) and (broken := broken_rules(config, program, how)) and broken <= PROMISES:
            found.update(broken)
            with verilator.open_tile(config, checked=True) as tile:
                link = Link(tile, config)
                link.write(Space.PROGRAM, 0, pack_program(config, codes(config, program)))
                with pytest.raises(ScheduleFault):
                    link.start(0, **how)
                    link.wait()
                    # What is still on its way at the end of the run shows later.
                    tile.drain()
    assert len(found) >= 3, found


def broken_rules(config, program, how):
    """The rules that a run breaks; None if it cannot even be followed."""
    try:
        return {violation.what for violation in violations(config, program, **how)}
    except ProgramError:
        return None


@pytest.mark.slow
def test_a_long_campaign_finds_nothing():
    found = campaign(1800, seed=1)
    assert found.failures == [], found.report()
    assert found.legal > 0.2 * found.programs


@pytest.mark.slow
@pytest.mark.parametrize("fpga", gates.TILES)
def test_netlists(compiler, tmp_path, fpga):
    """The netlist of a small tile of each FPGA family; `make gates` draws more programs."""
    found = gates.campaign(fpga, 200, seed=1, folder=tmp_path)
    assert found.failures == [], found.report()
    assert found.legal > 0.2 * found.programs, found.report()


def test_the_same_seed_draws_the_same_programs():
    both = []
    for _ in range(2):
        rng = random.Random(6)
        config = any_configuration(rng)
        both.append([config, drawn(Author(config, rng))])
    assert both[0] == both[1]
    assert violations(*both[0]) == violations(*both[1])
