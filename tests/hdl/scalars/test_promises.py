"""What the schedule promises the scalar unit: the hardware alone finds each program that the verifier refuses."""

import random
from collections import Counter

import pytest

from marey.hdl.scalars import Scalars
from marey.hdl.spec.isa import Sfu
from marey.hdl.spec.packing import pack_program
from marey.hdl.spec.protocol import Space
from marey.hdl.timing import Unit, violations
from marey.sim import verilator
from marey.sim.simulation import ScheduleFault
from marey.sw.runtime.link import Link
from tests.configs import CONFIGS, codes, op

RULES = {Unit.SFU_ENGINE.facts.clash, Unit.SFU_BEAT.facts.clash}


@pytest.mark.parametrize("config", [CONFIGS[0], CONFIGS[5]], ids=lambda config: config.name)
def test_beats_and_commands_of_every_distance(compiler, config):
    """Two SFUs with each period, and each pause between them: an assertion fails if, and only if, a rule is broken."""
    rng, seen, half = random.Random(4), Counter(), config.scalars // 2
    for function in Sfu:
        for period in range(Scalars.latency(config, function) + 4):
            for pause in rng.sample(range(3 * period + 12), 2):
                first, second = ({"function": function, "count": rng.choice((1, 2, 3)), "a": half, "b": half} if
                                 function is Sfu.MULTIPLY else {"function": function, "count": rng.choice((1, 2, 3))}
                                 for _ in range(2))
                program = [op(config, "PERIOD", value=period), op(config, "SFU", pause, into=half, **first),
                           op(config, "SFU", 200, into=half + 8, **second), op(config, "HALT")]
                broken = {violation.what for violation in violations(config, program)}
                # A result that a later beat reads too early is no matter of the unit's.
                if broken - RULES and not broken & RULES:
                    continue
                seen[frozenset(broken & RULES)] += 1
                assert fails(config, program) == bool(broken), (program, broken)
    assert len(seen) >= 3, seen


def fails(config, program):
    """Whether an assertion of the hardware fails in a run."""
    with verilator.open_tile(config, checked=True) as tile:
        link = Link(tile, config)
        link.write(Space.PROGRAM, 0, pack_program(config, codes(config, program)))
        try:
            link.start(0)
            link.wait()
            tile.drain()
        except ScheduleFault:
            return True
    return False
