"""Mutations of the hardware: each slice of small tiles, with what is to find them.

A mutation is looked for by ever more costly checks, until one finds it: programs drawn from a fixed
seed, as `tests/test_programs.py` has them; the slice's testbench of cocotb; tests of the tile; and last,
for those that no test finds, the program fuzz with other seeds.
"""

import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import strategies as st

from marey.hdl import verilog
from marey.sim import verilator
from marey.sim.sdram import simulated
from tests.cocotb import runner
from tests.cocotb.build import build
from tests.cocotb.test_slices import BENCHED, CASES
from tests.configs import CONFIGS, GATED, MEMORY, any_config
from tests.machines import Machines
from tests.programs import Author, Found
from tests.programs.campaign import DIFFERS, difference, legal_runs
from tests.test_programs import SAMPLES

from .equivalence import equivalent
from .forked import forked
from .result import EQUIVALENT, FUZZ_PROGRAMS, Result, first_failure
from .slices import VARIABLE, Mutated

LINK = ["tests/hdl/link/test_tokens.py", "tests/hdl/link/test_faults.py", "tests/hdl/link/test_link.py",
        "tests/test_damage.py::test_a_short_campaign_finds_nothing[rtl]", "tests/hdl/test_disturbance.py"]
TILE = ["tests/test_programs.py::test_the_hardware_finds_broken_promises", "tests/hdl/test_tile.py",
        "tests/hdl/test_disturbance.py"]
TESTS = {"sequencer": ["tests/hdl/sequencer/test_widths.py", *TILE],
         "link": [*LINK, "tests/hdl/test_tile.py"], "mem": [*TILE, "tests/hdl/spec/test_window.py"],
         "mxm": ["tests/hdl/mxm/test_promises.py", *TILE], "vxm": ["tests/hdl/vxm/test_long.py", *TILE],
         "scalars": ["tests/hdl/sequencer/test_widths.py", *TILE], "dram": ["tests/hdl/dram/test_move.py"]}
"""Tests that simulate a tile, by the slice whose mutations they are to find."""
OTHER_SEED = 6
"""Of the programs that are drawn for a mutation that no test finds."""
LIMIT_S = 300
"""Seconds after which a check counts as one that hangs, and so finds the mutation."""


class Place:
    """A slice of a configuration: its mutations, and the checks that look for them.

    `folder` is for files; `count` and `seed` are of the sample.
    """

    def __init__(self, name: str, config: str, folder: Path, count: int, seed: int):
        self.name = f"{name}:{config}"
        self.config = next(known for known in (*BENCHED, *MEMORY) if known.name == config)
        self._slice, self._folder = name, folder
        self.mutated = Mutated(name, self.config, folder, count, seed)
        self._tile = self.mutated.on_tile(lambda config: verilog.convert(simulated(config)))

    def results(self, skip: set[int]) -> Iterator[Result]:
        """Looks for each mutation but those whose numbers are in `skip`. Number 0 is the original."""
        for mutation in [None, *self.mutated.mutations]:
            number = mutation.number if mutation else 0
            if number in skip:
                continue
            begun = time.monotonic()
            os.environ[VARIABLE] = str(number)
            found = self._found_by(mutation)
            if found and not mutation:
                raise AssertionError(f"{self.name}: {found} fails without a mutation")
            about = (mutation.part, mutation.text(), mutation.where, mutation.command) if mutation else ("", "none", "", "")
            yield Result(self.name, number, *about, found, round(time.monotonic() - begun, 1))

    def _found_by(self, mutation):
        """The name of the first check that fails with a mutation; EQUIVALENT if it is proved to change nothing."""
        for name, check in self._checks(mutation):
            if found := forked(check, LIMIT_S, self._folder / "check.log"):
                return f"{name}{f': {found}' if isinstance(found, str) else ''}"
        return None

    def _checks(self, mutation):
        """Checks by what they are called, the quick ones first. What they share is made before the first fork."""
        if self._slice != "dram":
            yield from (("drawn programs", partial(self._differs, *sample)) for sample in self._fixed)
        if mutation:
            yield EQUIVALENT, partial(equivalent, self._folder, mutation.command)
        if self.config in BENCHED and (self._slice, BENCHED.index(self.config)) in CASES:
            yield "testbench", partial(self._testbench, self._built)
        yield "test", self._tests
        if self._slice == "dram":
            yield "slow test", partial(self._tests, "slow")
        else:
            yield "fuzz", partial(self._differs, *self._other)

    @cached_property
    def _fixed(self):
        return [self._drawn(**sample) for sample in SAMPLES]

    @cached_property
    def _other(self):
        return self._drawn(OTHER_SEED, FUZZ_PROGRAMS, 0.5)

    def _drawn(self, seed, programs, many):
        rng = random.Random(seed)
        author, data = Author(self.config, rng, many), rng.randrange(1 << 16)
        return data, list(legal_runs(author, programs, Found()))

    @cached_property
    def _built(self):
        folder = self._folder / "bench"
        folder.mkdir(exist_ok=True)
        build(self.mutated.alone(), folder, waves=False)
        return folder

    def _differs(self, data, runs):
        """Whether the emulator and the mutated tile differ on drawn programs, or in what they leave."""
        with self._instead():
            try:
                both = Machines(self.config, verilator.open_tile(self.config))
                both.fill(data)
            except DIFFERS:
                return True
            return any(difference(both, *run) for run in [*runs, ()])

    def _testbench(self, folder):
        return not runner.passes(folder, f"bench_{self._slice}", False, MAREY_CONFIG=BENCHED.index(self.config))

    def _tests(self, marked="not slow"):
        """The name of the first test that fails."""
        with self._instead():
            return first_failure(TESTS[self._slice], marked)

    @contextmanager
    def _instead(self):
        """In this context each tile of the configuration is the mutated one, in Verilator, and others are not to be had."""
        def opened(config, **_):
            if config != self.config:
                pytest.skip("another configuration")
            simulation = real(config, checked=True)
            simulation.patience = PATIENCE
            return simulation

        def transport(component, **_):
            return opened(getattr(component, "_tile", component).config)

        real = verilator.open_tile
        # Tests that draw a configuration draw this one; they do not know of windows.
        drawn = st.just(self.config) if self.config in (*CONFIGS, *GATED) else any_config
        with ExitStack() as stack:
            for target, value in (("marey.sim.verilator._verilog", lambda config: self._tile),
                                  ("marey.sim.verilator.open_tile", opened), ("marey.sim.pysim.open_tile", opened),
                                  ("tests.machines.PysimTransport", transport), ("tests.machines.small", lambda config: config),
                                  ("tests.configs.any_config", drawn),
                                  ("tests.configs.EACH_KIND", [self.config])):
                stack.enter_context(mock.patch(target, value))
            yield


PATIENCE = 1 << 21
"""Clock cycles without an answer after which a mutated tile counts as one that hangs."""
