"""What the command line refuses: one line that says what was expected, exit status 2, nothing written, no work begun."""

import os

import numpy as np
import pytest
from click.testing import CliRunner

from marey.hdl.spec.config import preset
from marey.sw.cli import main
from marey.sw.formats import gguf, huggingface, llama2c
from marey.sw.formats.tiny import tiny_model, tiny_tokenizer, write_tiny
from marey.sw.model.config import ModelConfig
from marey.sw.views.fit import Target
from tests.sw.commands import marey, refused


def test_bad_input(tiny, tmp_path):
    emulator = ["--backend", "emulator", "--config", "tiny4x8"]
    refused("generate", "x", "--model", tmp_path / "absent.bin", *emulator, word="no such file")
    refused("generate", "x", "--model", tmp_path, *emulator, word="no config.json")
    (tmp_path / "m.safetensors").write_bytes(b"{}")
    refused("generate", "x", "--model", tmp_path / "m.safetensors", *emulator, word="name the folder")
    np.savez(tmp_path / "program.npz", np.zeros(3))
    refused("generate", "x", "--model", tmp_path / "program.npz", *emulator, word="marey run")
    (tmp_path / "story.txt").write_text("Once upon a time, there was a text, and no model.")
    refused("generate", "x", "--model", tmp_path / "story.txt", *emulator, word="as a llama2.c checkpoint its header")
    (tmp_path / "empty.bin").write_bytes(b"")
    refused("generate", "x", "--model", tmp_path / "empty.bin", *emulator, word="too short")
    refused("generate", "x " * 500, "--model", tiny, *emulator, word="context")
    refused("generate", "x", "--model", tiny, "--tokenizer", tmp_path / "absent.bin", *emulator, word="no such file")
    refused("generate", "x", "--model", tiny, "--config", "nonesuch", word="sim8x8")
    refused("generate", "x", "--model", tiny, "--steps", 0, word="steps")
    refused("generate", "x", "--model", tiny, "--top-p", 2, word="top-p")
    refused("run", tiny, word="damaged")
    refused("run", tmp_path / "absent.marey", word="no such file")
    refused("disasm", tmp_path / "empty.bin", word="damaged")
    refused("compile", tiny, "-o", tmp_path / "no" / "folder.marey", word="folder.marey")
    refused("frobnicate", word="frobnicate")


@pytest.mark.parametrize("factor", [0, 1e-30, 1e30])
def test_a_model_of_which_nothing_comes(tmp_path, factor):
    """Weights that a reader has nothing against, and that no training makes."""
    config = ModelConfig(dim=8, hidden_dim=8, n_layers=1, n_heads=1, n_kv_heads=1, vocab_size=260, seq_len=4)
    path = write_tiny(tmp_path, config)
    weights = np.memmap(path, "<f4", "r+", offset=28)
    weights *= np.float32(factor)
    weights.flush()
    for command in (["eval", path], ["compile", path, "-o", tmp_path / "x.marey", "--config", "tiny4x4"]):
        refused(*command, word="weights are damaged")


@pytest.mark.parametrize("hidden, cure", [(5000, ": --config sim8x8 runs it, resident"), (200_000, ": no preset can run it")])
def test_a_model_that_does_not_fit(tmp_path, hidden, cure):
    """The refusal names a preset that runs the model, or says what else to change."""
    wide = ModelConfig(dim=8, hidden_dim=hidden, n_layers=1, n_heads=1, n_kv_heads=1, vocab_size=260, seq_len=4)
    path = write_tiny(tmp_path, wide)
    refused("compile", path, "-o", tmp_path / "x.marey", "--config", "tiny4x4", word=cure)
    assert not (tmp_path / "x.marey").exists()


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"NOP wait=x"])
def test_text_that_is_no_assembly(tmp_path, content):
    (tmp_path / "bad.asm").write_bytes(content)
    refused("asm", tmp_path / "bad.asm", "-o", tmp_path / "x.marey", "--config", "tiny4x4")


def test_nothing_is_written_over_what_is_needed(tmp_path):
    """Models, programs, tokenizers, and what the command writes besides."""
    model, program = write_tiny(tmp_path), tmp_path / "tiny.marey"
    marey("compile", model, "-o", program)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    refused("compile", model, "-o", model, word="for something else")
    refused("timetable", program, "--position", 0, "-o", program, word="for something else")
    both = tmp_path / "x"
    refused("timetable", program, "--position", 0, "-o", both, "--perfetto", both, word="for something else")
    refused("export", model, "-o", tmp_path / "tokenizer.bin", word="for something else")
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}
    other = tmp_path / "other"
    other.mkdir()
    (other / "tokenizer.bin").write_bytes(b"another's")
    refused("export", model, "-o", other / "y.bin", word="is another model's")
    assert [path.name for path in other.iterdir()] == ["tokenizer.bin"]


def test_what_would_be_ignored_is_refused(tiny, tmp_path):
    by_hand = tmp_path / "x.asm"
    by_hand.write_text("HALT\n")
    program = tmp_path / "x.marey"
    marey("asm", by_hand, "-o", program)
    refused("run", program, "--prompt", "x", word="takes no prompt")
    refused("build", "--board", "ulx3s-45f", "--model", program, "-o", tmp_path / "x", word="for configuration sim8x8")
    marey("asm", by_hand, "-o", program, "--config", "ecp5_8x8")
    refused("build", "--board", "ulx3s-45f", "--model", program, "-o", tmp_path / "x", word="makes no tokens")
    refused("report", program, "--config", "sim8x8", word="for configuration ecp5_8x8")
    refused("report", program, "--tokenizer", by_hand, word="leave --tokenizer away")
    by_hand.write_text("NOP wait=3 wait=5\nHALT\n")
    refused("asm", by_hand, "-o", program, word="wait is given twice")
    by_hand.write_bytes(b"\x8d")
    refused("asm", by_hand, "-o", program, word="x.asm: is not UTF-8 text")
    refused("generate", "x", "--model", tiny, "--backend", "emulator", "--port", tmp_path, word="for the backend serial")
    refused("generate", "x", "--model", tiny, "--port", "", code=1, word="there is no port")
    refused("timetable", tiny, "--position", 0, "--text", "--image", program, word="give both")
    for option, value in (("--temperature", "nan"), ("--temperature", "inf"), ("--temperature", "1e-9"), ("--seed", -1)):
        refused("generate", "x", "--model", tiny, "--backend", "emulator", option, value, word="must be 0")


def test_what_is_no_model(tmp_path):
    """Each file in the place of a model or a program: one line that says what it is not."""
    for content, word in ((b"", "0 bytes, too short for a model"), (b"hello", "5 bytes, too short for a model"),
                          (b"<!DOCTYPE html>" * 4, "no GGUF file, and as a llama2.c checkpoint its header says dim")):
        (tmp_path / "x.gguf").write_bytes(content)
        for verb in ("generate --model", "fit", "report", "compile -o y.marey", "timetable --text", "export -o y.bin", "eval"):
            assert word in refused(*verb.split(), tmp_path / "x.gguf"), verb
    refused("fit", os.devnull, word="is no regular file")
    refused("fit", tmp_path, word="this folder has no config.json")
    for verb in ("run", "disasm"):
        refused(verb, tmp_path, word="is no regular file")
    refused("eval", "--text", tmp_path, word="Is a directory")
    refused("eval", "--text", tmp_path / "absent", word=f"marey: {tmp_path / 'absent'}: No such file or directory")


def test_weights_that_are_no_numbers(tmp_path, monkeypatch):
    """`fit` refuses a model, in each format, for the reason for which `generate` does; unless its weights are not there."""
    monkeypatch.setattr("marey.sw.cli.models.targets", lambda: [Target("tiny4x8", preset("tiny4x8"), baud=1_000_000)])
    model, words = tiny_model(), tiny_tokenizer(tiny_model().config.vocab_size)
    model.weights["layers.1.w2"][3, 5] = np.nan
    for name, write in (("m.bin", llama2c.write), ("m.gguf", gguf.write), ("m", huggingface.write)):
        path = tmp_path / name
        write(path, model, words)
        for verb in (("fit",), ("generate", "x", "--model")):
            refused(*verb, path, word="values that are NaN or infinite")
    (tmp_path / "m" / "model.safetensors").unlink()
    (tmp_path / "m.bin").write_bytes((tmp_path / "m.bin").read_bytes()[:28])
    assert marey("fit", tmp_path / "m").exit_code == marey("fit", tmp_path / "m.bin").exit_code == 0


def test_a_prompt_that_is_no_text(tiny):
    generate = ["generate", "--model", tiny, "--backend", "emulator", "--config", "tiny4x8", "--steps", 2]
    refused(*generate, "\udcff", word="the prompt is not UTF-8 text")
    read = CliRunner().invoke(main, [*map(str, generate), "-"], input=b"once\xff")
    assert read.exit_code == 2 and "the prompt is not UTF-8 text" in read.stderr


@pytest.fixture
def no_calibration(monkeypatch):
    """Calibration takes a minute for a real model: a command that comes so far fails the test."""
    monkeypatch.setattr("marey.sw.cli.calibrations.quantised", lambda *arguments, **options: pytest.fail("calibrated"))


def test_what_must_fail_fails_before_calibration(tiny, tmp_path, no_calibration):
    program, tile = tmp_path / "x.marey", ["--config", "tiny4x8"]
    refused("generate", "once " * 500, "--model", tiny, *tile, "--backend", "emulator", word="shorten it")
    refused("generate", "once", "--model", tiny, *tile, "--backend", "emulator", "--seed", -1, word="seed")
    refused("generate", "once", "--model", tiny, "--config", "up5k_4x4", "--backend", "emulator", word=": --config sim8x8 runs")
    refused("compile", tiny, *tile, "-o", tmp_path / "no" / "x.marey", word="there is no folder")
    refused("compile", tiny, *tile, "-o", tmp_path, word="is a folder")
    refused("report", tiny, *tile, "--position", 5000, word="no token from position 5000")
    refused("timetable", tiny, *tile, "--text", "--position", 5000, word="no token from position 5000")
    refused("timetable", tiny, *tile, "-o", tmp_path / "no" / "page.html", word="there is no folder")
    refused("build", "--board", "hx8k", "--model", tiny, "-o", tmp_path / "x", word="cannot be burned in")
    assert not program.exists()
