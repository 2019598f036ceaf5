"""A device refuses, before anything runs, what would leave its model."""

import pytest

from marey.hdl.spec.config import preset
from marey.hdl.spec.errors import MareyError
from marey.sim.endpoint import Endpoint
from marey.sw.compiler.compile import compile_model
from marey.sw.runtime.driver import Device


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
