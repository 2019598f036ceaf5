"""The cache of compiled models: the same program from it, a new one where anything has changed or is damaged."""

import shutil
import warnings
from dataclasses import replace

import numpy as np
import pytest

from marey.hdl.spec.config import preset
from marey.sw.cli import calibrations, compiled, compiling
from marey.sw.cli.compiling import compile_model_file
from marey.sw.errors import FormatWarning
from marey.sw.formats.tiny import write_tiny
from marey.sw.model.config import ModelConfig
from tests.sw.commands import marey

pytestmark = pytest.mark.usefixtures("unproved")
SHAPE = ModelConfig(dim=16, hidden_dim=24, n_layers=2, n_heads=2, n_kv_heads=1, vocab_size=384, seq_len=32)
CONFIG = preset("tiny4x8")
TILE = ("--config", "tiny4x8")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache folder, in which small models are kept, too."""
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compiling, "WORTH_KEEPING_S", -1)
    monkeypatch.setattr(calibrations, "quality", lambda model, integers: 1.0)  # which takes a second
    return tmp_path / "cache"


@pytest.fixture
def model(tmp_path):
    return write_tiny(tmp_path / "model", SHAPE)


@pytest.fixture
def calls(monkeypatch):
    """The names of the models that were compiled."""
    made, compile_quantised = [], compiling.compile_quantised

    def counted(*arguments, **options):
        made.append(arguments)
        return compile_quantised(*arguments, **options)

    monkeypatch.setattr(compiling, "compile_quantised", counted)
    return made


def contents(program, path):
    """A program as the bytes of its file."""
    program.save(path)
    return path.read_bytes()


def assert_equal(one, other, tmp_path):
    files = [tmp_path / "one", tmp_path / "other"]
    assert contents(one.program, files[0]) == contents(other.program, files[1])
    assert str(one.program.tokenizer.to_json()) == str(other.program.tokenizer.to_json())
    linears = [found.quantised.linears for found in (one, other)]
    assert linears[0].keys() == linears[1].keys()
    assert all(np.array_equal(linears[0][name].weight, linears[1][name].weight) for name in linears[0])


def test_the_cache_has_what_the_compiler_gave(folder, calls, model, tmp_path):
    made, kept = compile_model_file(model, None, CONFIG), compile_model_file(model, None, CONFIG)
    assert len(calls) == 1
    assert_equal(made, kept, tmp_path)


def test_commands_say_the_same_with_it(folder, calls, model, tmp_path):
    command = ("generate", "once", "--model", model, *TILE, "--backend", "emulator", "--steps", 3, "--prefill", "host")
    first, second = marey(*command), marey(*command)
    assert first.exit_code == second.exit_code == 0 and first.stdout == second.stdout and len(calls) == 1
    files = [tmp_path / "one", tmp_path / "other"]
    for file in files:
        assert marey("compile", model, *TILE, "-o", file).exit_code == 0
    assert files[0].read_bytes() == files[1].read_bytes() and len(calls) == 1


def test_whatever_goes_in_has_a_program_of_its_own(folder, calls, model, tmp_path, monkeypatch):
    named = shutil.copy(model.with_name("tokenizer.bin"), tmp_path / "words.bin")
    variants = [
        lambda: compile_model_file(model, None, CONFIG),
        lambda: compile_model_file(model, None, preset("tiny4x4")),
        lambda: compile_model_file(model, None, replace(CONFIG, name="other")),
        lambda: compile_model_file(model, None, CONFIG, context=8),
        lambda: compile_model_file(model, named, CONFIG),
        lambda: compile_model_file(shutil.copy(model, model.with_name("other.bin")), None, CONFIG),
    ]
    for expected, variant in enumerate(variants, 1):
        variant()
        assert len(calls) == expected
    content = bytearray(model.read_bytes())
    content[-1] ^= 0x80  # the sign of a weight
    model.write_bytes(content)
    compile_model_file(model, None, CONFIG)
    words = model.with_name("tokenizer.bin")
    changed = bytearray(words.read_bytes())
    changed[-1] ^= 1  # a letter of a token
    words.write_bytes(changed)
    compile_model_file(model, None, CONFIG)
    monkeypatch.setattr(compiled, "_makers", lambda: "other source code")
    compile_model_file(model, None, CONFIG)
    assert len(calls) == len(variants) + 3


@pytest.mark.parametrize("suffix", [compiled.PROGRAM, compiled.FACTS])
def test_what_is_damaged_is_made_again(folder, calls, model, tmp_path, suffix):
    made = compile_model_file(model, None, CONFIG)
    (file,) = folder.glob(f"*{suffix}")
    sound = file.read_bytes()
    middle = len(sound) // 2
    for content in (b"", sound[:middle], sound[:middle] + bytes([sound[middle] ^ 1]) + sound[middle + 1:]):
        file.write_bytes(content)
        before = len(calls)
        assert_equal(made, compile_model_file(model, None, CONFIG), tmp_path)
        assert len(calls) == before + 1 and file.read_bytes() == sound
    file.unlink()
    assert_equal(made, compile_model_file(model, None, CONFIG), tmp_path)
    compile_model_file(model, None, CONFIG)
    assert len(calls) == before + 2


def test_without_its_integers_it_is_made_again(folder, calls, model):
    compile_model_file(model, None, CONFIG)
    (file,) = folder.glob("quantised-*.npz")
    file.unlink()
    assert compile_model_file(model, None, CONFIG).quantised is not None
    assert len(calls) == 2


def test_a_file_that_changes_meanwhile_is_not_kept(folder, calls, model, monkeypatch):
    """Nobody knows which content was compiled."""
    quantised = calibrations.quantised

    def changing(*arguments, **how):
        model.write_bytes(model.read_bytes() + b"\0")
        return quantised(*arguments, **how)

    monkeypatch.setattr(calibrations, "quantised", changing)
    compile_model_file(model, None, CONFIG)
    assert not [*folder.glob(f"*{compiled.PROGRAM}")]


def test_warnings_about_the_files_are_given_every_time(folder, calls, model, monkeypatch):
    load_template = compiling.load_template

    def warning(path):
        warnings.warn("something is left out", FormatWarning, stacklevel=2)
        return load_template(path)

    monkeypatch.setattr(compiling, "load_template", warning)
    for _ in range(2):
        with pytest.warns(FormatWarning, match="something is left out"):
            compile_model_file(model, None, CONFIG)
    assert len(calls) == 1


def test_what_is_refused_is_refused_every_time(folder, calls, model):
    compile_model_file(model, None, CONFIG)
    command = ("generate", "once " * 200, "--model", model, *TILE, "--backend", "emulator")
    refusals = [marey(*command) for _ in range(2)]
    assert all(each.exit_code == 2 for each in refusals) and refusals[0].output == refusals[1].output


def test_without_a_folder_it_compiles(tmp_path, monkeypatch, calls, model):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "file"))
    for expected in (1, 2):
        compile_model_file(model, None, CONFIG)
        assert len(calls) == expected


def test_the_oldest_goes_when_there_is_no_room(folder, calls, model, monkeypatch):
    compile_model_file(model, None, CONFIG)
    (first,) = folder.glob(f"*{compiled.PROGRAM}")
    monkeypatch.setattr(compiled, "MOST_BYTES", int(1.5 * first.stat().st_size))
    compile_model_file(model, None, CONFIG, context=8)
    (second,) = folder.glob(f"*{compiled.PROGRAM}")
    assert second != first

