"""`--verify`: a tile that computes wrong values in the right number of cycles is found, at the position where it does."""

import json

import numpy as np
import pytest
from amaranth import Const

from marey.hdl import verilog
from marey.hdl.spec.config import preset
from marey.hdl.tile import Tile
from marey.hdl.vxm import lane
from marey.sim import backends
from marey.sim.endpoint import Endpoint
from marey.sim.verilator import VerilatorTransport
from marey.sw.cli.compiling import compile_model_file
from marey.sw.runtime.driver import Device
from marey.sw.runtime.generate import generate
from marey.sw.runtime.verify import EmulatorReference, GoldenReference, Verifier, VerifyError
from marey.sw.text.sampling import Sampler
from tests.sw.commands import marey

CONFIG = preset("tiny4x8")
STEPS = 6


@pytest.fixture(scope="module")
def compiled(tiny):
    return compile_model_file(tiny, None, CONFIG)


@pytest.fixture
def truncating(monkeypatch):
    """An emulated tile that truncates to multiples of 16 where it should round; under the name verilator, so that it is
    verified by default."""
    class Truncating(Endpoint):
        def send(self, words):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("marey.sim.emulator.round_shift", lambda value, shift: np.right_shift(value, shift) & -16)
                super().send(words)

    monkeypatch.setitem(backends.OPENERS, "verilator", Truncating)
    return Truncating


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("logits", [False, True])
def test_a_right_tile_passes(compiled, logits, temperature):
    for reference in (GoldenReference(compiled.quantised), EmulatorReference(compiled.program)):
        with Device(Endpoint(CONFIG), CONFIG) as device:
            device.load(compiled.program)
            verifier = Verifier(reference, logits)
            result = generate(device, compiled.program, "once upon", STEPS, Sampler(temperature), verifier=verifier)
        assert result.verified_by == reference.name
        assert len(result.tokens) <= result.verified_count == verifier.token_count <= STEPS


def test_a_wrong_logit_is_found_though_the_token_is_right(compiled):
    tile, verifier = GoldenReference(compiled.quantised), Verifier(GoldenReference(compiled.quantised), logits=True)
    token, logits = tile.step([1])
    verifier.check([1], token, logits)
    found, logits = tile.step([1, token])
    logits[7] += 1e-9
    with pytest.raises(VerifyError, match=r"position 1: expected logit .* for token 7, .* and 1 of"):
        verifier.check([1, token], found, logits)


def test_a_tile_that_truncates_ends_the_command(tiny, truncating):
    """Predicted is measured, and all the same the command fails, in one line that names the position and both tokens."""
    command = ["generate", "once", "--model", tiny, "--config", CONFIG.name, "--backend", "verilator", "--steps", STEPS]
    for option in ([], ["--verify"], ["--verify=logits"]):
        result = marey(*command, *option)
        assert result.exit_code == 1 and result.stderr.startswith("marey: position ") and "golden model" in result.stderr
        assert len(result.stderr.splitlines()) == 1
    unseen = marey(*command, "--no-verify", "--json")
    assert unseen.exit_code == 0 and json.loads(unseen.stdout)["verified_by"] is None


def test_a_program_file_is_compared_with_the_emulator(compiled, truncating, tmp_path):
    file = tmp_path / "tiny.marey"
    compiled.program.save(file)
    command = ["run", file, "--prompt", "once", "--backend", "verilator", "--steps", STEPS]
    assert marey(*command).exit_code == 0
    result = marey(*command, "--verify")
    assert result.exit_code == 1 and "differ from the emulator's" in result.stderr


def test_the_emulator_is_not_compared_with_itself(tiny):
    result = marey("generate", "once", "--model", tiny, "--backend", "emulator", "--verify")
    assert result.exit_code == 2 and "choose another --backend" in result.stderr


def test_wrong_rounding_in_the_lane(compiler, tiny, monkeypatch):
    """The tile's own RTL, with one constant of the VXM's lane changed: it truncates where it should round."""
    monkeypatch.setattr(lane, "C", lambda value, width: Const(0, width))
    text = verilog.convert(Tile(CONFIG))
    monkeypatch.setitem(backends.OPENERS, "verilator", lambda config: VerilatorTransport(text, name="a faulty tile"))
    result = marey("generate", "once", "--model", tiny, "--config", CONFIG.name, "--backend", "verilator")
    assert result.exit_code == 1 and "expected token" in result.stderr.splitlines()[-1]
