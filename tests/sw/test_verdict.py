"""What a model loses in integers is said in one line, or it is refused, by every command that would use it."""

import json

import pytest

from marey.hdl.spec.config import preset
from marey.sw.cli import calibrations, models, verdict
from marey.sw.quant.quantise import quantise
from marey.sw.views.fit import Target
from tests.sw.commands import marey, refused

pytestmark = pytest.mark.usefixtures("unproved")
TILE = ("--config", "tiny4x8")
RUN = ("--steps", "2", "--backend", "emulator")
WARNED = "marey: warning: {}: perplexity in the tile's integers is x{} of float32's"


@pytest.fixture(scope="module")
def integers(tiny_model):
    return quantise(tiny_model)


@pytest.fixture
def judged(tmp_path, monkeypatch, integers):
    """A function that makes all models so good; `calls` has those that were judged. No verdict is kept from before."""
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "cache"))
    # Fewer targets than `marey fit` tries, which takes seconds.
    monkeypatch.setattr(calibrations, "quantise", lambda model, bits, **how: integers)
    monkeypatch.setattr(models, "targets", lambda: [Target(name, preset(name)) for name in ("tiny4x8", "sim8x8_int4")])
    calls = []

    def make(ratio):
        monkeypatch.setattr(calibrations, "quality", lambda model, integers: calls.append(1) or ratio)
        return calls
    return make


def warned(result, name, ratio):
    """Whether the command succeeded, with this warning and nothing else on stderr."""
    assert result.exit_code == 0, result.output
    (line,) = result.stderr.splitlines()
    return line.startswith(WARNED.format(name, ratio))


def test_a_loss_is_told_once_by_each_command(tiny, judged, tmp_path):
    """The verdict is kept with the calibration and in the program file, and costs nothing the second time."""
    calls, file = judged(1.5), tmp_path / "tiny.marey"
    assert "not known" in marey("fit", tiny).stdout
    assert warned(marey("compile", tiny, "-o", file, *TILE), tiny.name, "1.50")
    assert warned(marey("generate", "a", "--model", tiny, *TILE, *RUN, "--json"), tiny.name, "1.50")
    assert warned(marey("run", file, "--prompt", "a", *RUN), tiny.name, "1.50")
    assert len(calls) == 1
    assert "x1.500 of float32's with weights of 8 bits" in marey("fit", tiny).stdout
    assert json.loads(marey("fit", tiny, "--json").stdout)["quality"] == {"8": 1.5, "4": None}


def test_a_bad_model_is_refused_unless_forced(tiny, judged, tmp_path):
    calls, file = judged(3.25), tmp_path / "tiny.marey"
    for command in (("generate", "a", "--model", tiny, *RUN), ("compile", tiny, "-o", file)):
        refused(*command, *TILE, word="is x3.25 of float32's, on text that the model writes: too much to be of use; --force")
    assert not file.exists() and len(calls) == 1
    rows, forced = (json.loads(marey("fit", tiny, "--json", *force).stdout)["targets"] for force in ((), ["--force"]))
    changed = [(one, other) for one, other in zip(rows, forced, strict=True) if one != other]
    assert all(one["mode"] == "no" and "x3.25" in one["why"] and other["mode"] != "no" for one, other in changed)
    assert {preset(one["config"]).weight_bits for one, _ in changed} == {8}
    assert warned(marey("compile", tiny, "-o", file, *TILE, "--force"), tiny.name, "3.25")
    assert warned(marey("run", file, "--prompt", "a", *RUN), tiny.name, "3.25")


def test_another_content_has_no_verdict(tiny, judged, tmp_path):
    judged(1.5)
    other = tmp_path / "other.bin"
    other.write_bytes(tiny.read_bytes())
    verdict.remember(other, 8, 1.5)
    assert (verdict.recall(other, 8), verdict.recall(other, 4), verdict.recall(tiny, 8)) == (1.5, None, None)
    other.write_bytes(other.read_bytes() + b"x")
    assert verdict.recall(other, 8) is None
