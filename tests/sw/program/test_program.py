"""Program files: saved, loaded, damaged, for another tile."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.hdl.spec.config import preset
from marey.hdl.spec.errors import MareyError
from marey.sim.endpoint import Endpoint
from marey.sw.compiler.compile import compile_model
from marey.sw.formats.tiny import tiny_tokenizer
from marey.sw.program.assembly import assemble
from marey.sw.program.program import Program, ProgramFileError
from marey.sw.runtime.driver import Device
from marey.sw.runtime.generate import generate
from tests.configs import op

CONFIG = preset("tiny4x8")


@pytest.fixture(scope="module")
def program(tiny_model):
    return compile_model(tiny_model, CONFIG, tiny_tokenizer(), "tiny")


@pytest.fixture(scope="module")
def saved(program, tmp_path_factory):
    path = tmp_path_factory.mktemp("p") / "tiny.marey"
    program.save(path)
    return path


def text_of(program):
    with Device(Endpoint(CONFIG), CONFIG) as device:
        device.load(program)
        return generate(device, program, "once upon", 5)


def test_a_saved_program_says_the_same(program, saved):
    loaded = Program.load(saved)
    assert loaded.config == program.config and loaded.model == program.model and loaded.sections == program.sections
    one, other = text_of(program), text_of(loaded)
    assert one == other and len(one.tokens) == 5


def test_the_file_is_reproducible(program, saved, tmp_path):
    program.save(tmp_path / "again.marey")
    assert (tmp_path / "again.marey").read_bytes() == saved.read_bytes()


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_files(saved, tmp_path_factory, data):
    """A flipped byte or a cut is noticed, or hits nothing that is read."""
    content = bytearray(saved.read_bytes())
    if data.draw(st.booleans()):
        content = content[:data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.mktemp("d") / "damaged.marey"
    path.write_bytes(content)
    try:
        loaded = Program.load(path)
    except ProgramFileError as error:
        assert "\n" not in str(error)
    else:
        original = Program.load(saved)
        assert loaded.model == original.model and asdict(loaded.config) == asdict(original.config)
        one, other = loaded.image, original.image
        assert one.instructions == other.instructions and np.array_equal(one.weights, other.weights)
        assert np.array_equal(one.constants, other.constants)


def test_a_wrong_prediction_is_noticed(program, tmp_path, monkeypatch):
    wrong = replace(program)
    monkeypatch.setattr(Program, "cycles", lambda *_: 1)
    wrong.save(tmp_path / "wrong.marey")
    monkeypatch.undo()
    with pytest.raises(ProgramFileError, match="says 1 cycles"):
        Program.load(tmp_path / "wrong.marey")


@pytest.mark.parametrize("change", [
    lambda about: about.pop("cycles"), lambda about: about["config"].update(name=[]), lambda about: about["model"].pop("scale"),
    lambda about: about["model"].update(context=1 << 40) or about["model"]["shape"].update(seq_len=1 << 40),
    lambda about: about.update(notes=[]), lambda about: about["model"]["shape"].update(eos=3),
])
def test_a_description_that_does_not_do(saved, tmp_path, change):
    """An archive that is whole, and says what no program is."""
    with np.load(saved) as archive:
        arrays = dict(archive)
    about = json.loads(arrays["description"].tobytes())
    change(about)
    np.savez(tmp_path / "odd.npz", **arrays | {"description": np.frombuffer(json.dumps(about).encode(), np.uint8)})
    with pytest.raises(ProgramFileError, match="odd"):
        Program.load(tmp_path / "odd.npz")


def test_an_archive_that_unpacks_to_more_than_any_program(saved, tmp_path, monkeypatch):
    monkeypatch.setattr("marey.sw.program.archive.LARGEST", 10_000)
    with pytest.raises(ProgramFileError, match="damaged"):
        Program.load(saved)


def test_another_configuration(program):
    other = preset("tiny4x4")
    with Device(Endpoint(other), other) as device, pytest.raises(MareyError, match="compile it with --config tiny4x4"):
        device.load(program)


def test_another_version(saved, tmp_path, monkeypatch):
    monkeypatch.setattr("marey.sw.program.program.VERSION", 99)
    with pytest.raises(ProgramFileError, match="compile it again"):
        Program.load(saved)


def test_listing_assembles_to_the_same(program):
    assert assemble(CONFIG, "\n".join(program.listing())) == program.image.instructions


def test_labels_and_comments():
    text = "; a loop\nagain:\n  NOP wait=3 ; wait\n  LOOP counter=0 count=2 target=again\nHALT\n"
    assert assemble(CONFIG, text) == [op(CONFIG, "NOP", 3), op(CONFIG, "LOOP", count=2), op(CONFIG, "HALT")]


@pytest.mark.parametrize(("text", "word"), [("NOP\nFLY", "line 2"), ("LOOP counter=0 count=1 target=there", "no label"),
                                            ("NOP\n" * 300, "room for 128")])
def test_text_that_is_no_program(text, word):
    with pytest.raises(MareyError, match=word):
        assemble(CONFIG, text)


def test_a_prompt_longer_than_the_context(program):
    with Device(Endpoint(CONFIG), CONFIG) as device, pytest.raises(MareyError, match="context 128"):
        device.load(program)
        generate(device, program, "play " * 200, 5)
