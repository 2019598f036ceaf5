"""A device refuses, before anything runs, what would leave its model."""

import pytest

from marey.hdl.spec.config import preset
from marey.hdl.spec.errors import MareyError
from marey.hdl.spec.isa import Address, Source
from marey.sim.endpoint import Endpoint
from marey.sw.compiler.compile import compile_model
from marey.sw.program.program import Program
from marey.sw.runtime.driver import Device
from tests.configs import CONFIGS, op


@pytest.fixture(scope="module")
def program(tiny_model):
    return compile_model(tiny_model, preset("sim8x8"))


@pytest.mark.parametrize(("run", "words"), [
    ({"token": 384}, "token 384 is not one of the model's 384"), ({"token": -1}, "token -1"),
    ({"position": 128}, "positions 128 to 128 are not within the program's context of 128"),
    ({"position": 200}, "positions 200"), ({"position": -1}, "positions -1"),
    ({"position": 120, "count": 9}, "positions 120 to 128"), ({"count": 257}, "0 to 256 tokens"), ({"count": -1}, "not -1"),
])
def test_runs_outside_the_model_are_refused(program, run, words):
    with Device(Endpoint(program.config), program.config) as device:
        device.load(program)
        with pytest.raises(MareyError, match=words) as caught:
            device.run(**run)
        assert "\n" not in str(caught.value) and device.tally.runs == 0
        assert len(device.run(1, 120, 8)) == 8


BY_HAND = {
    "pause": ([op(CONFIGS[0], "NOP", blocks=1), op(CONFIGS[0], "HALT")], {"position": 60_000}, "the number of blocks, 15001"),
    "address": ([op(CONFIGS[2], "INDEX", register=1, source=Source.TOKEN, times=1), op(CONFIGS[2], "VXM", 60, x=Address(0, 1)),
                 op(CONFIGS[2], "HALT")], {"token": 120}, "mem.x address 120 is outside its 120 entries"),
    "tokens": ([op(CONFIGS[0], "TOKEN", target=1), op(CONFIGS[0], "HALT")], {"count": 0}, "no more tokens are wanted"),
    "wide": ([op(CONFIGS[0], "HALT")], {"position": 1 << 16}, "position 65536 does not fit into 16 bits"),
}


@pytest.mark.parametrize("kind", BY_HAND)
def test_a_run_of_a_program_by_hand_is_checked_before_it_begins(kind):
    """It was checked at position 0 when it was made; another position, token or count may break a rule."""
    program, run, words = BY_HAND[kind]
    config = CONFIGS[2] if kind == "address" else CONFIGS[0]
    with Device(Endpoint(config), config) as device:
        device.load(Program.from_instructions(config, program))
        with pytest.raises(MareyError, match=words) as caught:
            device.run(**run)
        assert "\n" not in str(caught.value) and device.tally.runs == 0
        device.run()
