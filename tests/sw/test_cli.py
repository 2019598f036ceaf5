"""The command line as a person meets it: output, JSON, exit codes, one line for every error."""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from marey.hdl.spec.config import PRESETS
from marey.sw.cli import main
from marey.sw.formats import load_model
from marey.sw.formats.tiny import write_tiny
from marey.sw.model.config import ModelConfig
from marey.sw.program.program import Program
from marey.sw.text.tokenizer import Tokenizer
from tests.sw.commands import marey, refused

STEP_KEYS = {"position", "token", "predicted_cycles", "measured_cycles", "mac_floor_cycles", "count"}
GENERATE_KEYS = {"config", "backend", "model", "prompt_tokens", "tokens", "text", "mac_floor_cycles", "predicted_cycles",
                 "measured_cycles", "utilisation", "steps", "wall_seconds", "simulated_hz"}


def test_bare_call_helps():
    result = marey()
    assert "generate" in result.output and "bench" in result.output
    for verb in main.list_commands(None):
        assert marey(verb, "--help").exit_code == 0


def test_generate(tiny):
    result = marey("generate", "once upon", "--model", tiny, "--backend", "emulator", "--steps", 3, "--config", "tiny4x8")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("once upon") and "cycles predicted" in result.stdout


def test_generate_json(tiny):
    result = marey("generate", "once", "--model", tiny, "--backend", "emulator", "--steps", 3, "--config", "tiny4x8", "--json")
    found = json.loads(result.stdout)
    assert set(found) >= GENERATE_KEYS
    assert len(found["tokens"]) == 3 and all(set(step) == STEP_KEYS for step in found["steps"])
    assert found["predicted_cycles"] == found["measured_cycles"] == sum(s["measured_cycles"] for s in found["steps"])
    assert found["utilisation"] == found["mac_floor_cycles"] / found["measured_cycles"]
    assert found["simulated_hz"] is None and found["config"] == "tiny4x8" and found["backend"] == "emulator"


def test_sampling_repeats_with_its_seed(tiny):
    def text(seed):
        return marey("generate", "once", "--model", tiny, "--backend", "emulator", "--steps", 8, "--config", "tiny4x8",
                     "--temperature", 1.5, "--top-p", 0.9, "--seed", seed, "--json").stdout

    one, again, other = (json.loads(text(seed))["tokens"] for seed in (1, 1, 2))
    assert one == again != other


def test_without_a_model():
    result = marey("generate", "Once", "--backend", "emulator", "--steps", 4)
    assert result.exit_code == 0 and result.stdout.startswith("Once upon a time,") and result.stderr == ""


def test_compile_run_disasm(tiny, tmp_path):
    file = tmp_path / "tiny.marey"
    assert marey("compile", tiny, "-o", file, "--config", "tiny4x8").exit_code == 0
    direct = marey("generate", "once", "--model", tiny, "--backend", "emulator", "--steps", 4, "--config", "tiny4x8", "--json")
    saved = marey("run", file, "--prompt", "once", "--backend", "emulator", "--steps", 4, "--json")
    differing = {"wall_seconds"}
    one, other = ({k: v for k, v in json.loads(r.stdout).items() if k not in differing} for r in (direct, saved))
    assert one == other
    listing = marey("disasm", file).stdout
    assert "feed-forward" in listing and "w2" in listing and "MXM act=" in listing and "@ cycle" in listing


def test_report(tiny, tmp_path):
    """The cycles of all products are those of the token."""
    file = tmp_path / "tiny.marey"
    marey("compile", tiny, "-o", file, "--config", "tiny4x8")
    found = json.loads(marey("report", file, "--position", 60, "--json").stdout)
    assert sum(row["cycles"] for row in found["phases"]) == found["cycles"]
    assert [row["name"] for row in found["phases"]][:3] == ["embedding", "qk", "v"]
    assert "idle before" in marey("report", file).stdout
    refused("report", file, "--position", 500, word="position 500")


def test_assemble_and_run(tmp_path):
    source, file = tmp_path / "loop.asm", tmp_path / "loop.marey"
    source.write_text("again:\n  NOP wait=3\n  LOOP counter=0 count=4 target=again\n  HALT\n")
    assert marey("asm", source, "-o", file, "--config", "tiny4x4").exit_code == 0
    found = json.loads(marey("run", file, "--backend", "emulator", "--json").stdout)
    # Three to the first issue, four turns of 4 and 4.
    assert found["runs"] == [{"entry": 0, "predicted_cycles": 35, "measured_cycles": 35}]
    source.write_text("MXM act=0 wgt=0\nHALT\n")
    refused("asm", source, "-o", tmp_path / "bad.marey", "--config", "tiny4x4", word="no VXM instruction takes it")
    assert not (tmp_path / "bad.marey").exists()


def test_a_program_goes_to_a_pipe(tmp_path):
    """What is no regular file is written from its beginning to its end: `-o /dev/null`, `-o /dev/stdout | ...`."""
    (tmp_path / "in.asm").write_text("NOP\nHALT\n")
    assert marey("asm", tmp_path / "in.asm", "-o", os.devnull).exit_code == 0
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "out.marey").open("wb") as out, subprocess.Popen(["cat", tmp_path / "pipe"], stdout=out):
        assert marey("asm", tmp_path / "in.asm", "-o", tmp_path / "pipe").exit_code == 0
    assert len(Program.load(tmp_path / "out.marey").image.instructions) == 2


def test_an_edited_schedule_keeps_its_model(tiny, tmp_path):
    """A listing assembles to the program it is of; one NOP more is one cycle more for each token, and the same text."""
    program, listing, again, later = (tmp_path / name for name in ("x.marey", "x.asm", "again.marey", "later.marey"))
    marey("compile", tiny, "-o", program, "--config", "tiny4x8")
    listing.write_text(marey("disasm", program).stdout)
    assert marey("asm", listing, "--with", program, "-o", again).exit_code == 0
    assert Program.load(again).image.instructions == Program.load(program).image.instructions
    assert marey("disasm", again).stdout == listing.read_text()
    listing.write_text("NOP\n" + listing.read_text().replace("at0:", "moved:").replace("target=at0", "target=moved"))
    assert marey("asm", listing, "--with", program, "-o", later).exit_code == 0
    run = ["--prompt", "once", "--backend", "emulator", "--steps", 3, "--json"]
    one, other = (json.loads(marey("run", file, *run).stdout) for file in (program, later))
    assert one["text"] == other["text"]
    assert other["measured_cycles"] == one["measured_cycles"] + len(one["steps"])
    refused("asm", listing, "--with", program, "-o", tmp_path / "bad", "--config", "tiny4x4", word="for configuration tiny4x8")


def test_bench_json():
    found = json.loads(marey("bench", "--config", "tiny4x4", "--backend", "emulator", "--json").stdout)
    assert {"config", "backend", "rows"} == set(found)
    for row in found["rows"]:
        assert set(row) == {"name", "macs", "predicted_cycles", "measured_cycles", "utilisation"}


def test_verilog(tmp_path):
    assert marey("verilog", "--config", "tiny4x4", "-o", tmp_path).exit_code == 0
    sidecar = json.loads((tmp_path / "marey_tiny4x4.json").read_text())
    assert sidecar["config_hash"] == PRESETS["tiny4x4"].hash
    assert {"rx__payload", "tx__payload", "clk", "rst"} <= {port["name"] for port in sidecar["ports"]}
    assert "module marey_tile(" in (tmp_path / "marey_tiny4x4.v").read_text()


def test_export(tiny, tmp_path):
    """From llama2.c to GGUF and back: the same file."""
    there, back = tmp_path / "tiny.gguf", tmp_path / "back.bin"
    assert marey("export", tiny, "-o", there).exit_code == 0
    assert marey("export", there, "-o", back).exit_code == 0
    assert back.read_bytes() == tiny.read_bytes()
    assert marey("export", tiny, "-o", tmp_path / "small.gguf", "--type", "q8_0").exit_code == 0
    assert (tmp_path / "small.gguf").stat().st_size < there.stat().st_size / 2
    assert marey("export", there, "-o", tmp_path / "folder").exit_code == 0
    assert marey("export", tmp_path / "folder", "-o", tmp_path / "again.bin").exit_code == 0
    assert (tmp_path / "again.bin").read_bytes() == tiny.read_bytes()
    refused("export", there, "-o", there, word="for something else")
    refused("export", tiny, "-o", tmp_path / "x.onnx", word=".gguf")
    refused("export", tiny, "-o", tmp_path / "x.bin", "--type", "q8_0", word=".gguf")


def test_eval_json(tiny):
    found = json.loads(marey("eval", tiny, "--json").stdout)
    assert set(found) == {"model", "tokens", "float32", "int8", "int4"}
    assert set(found["int8"]) == {"perplexity", "ratio", "top1_agreement"}
    assert found["int8"]["ratio"] == found["int8"]["perplexity"] / found["float32"]["perplexity"]


def test_eval_of_a_text(tiny, tmp_path):
    (tmp_path / "story.txt").write_text("once upon a time there was a dog. " * 20)
    assert json.loads(marey("eval", tiny, "--text", tmp_path / "story.txt", "--json").stdout)["tokens"] > 50
    refused("eval", tiny, "--text", tmp_path / "absent.txt", word="No such file")
    (tmp_path / "empty.txt").write_text("")
    refused("eval", tiny, "--text", tmp_path / "empty.txt", word="too short")


def test_fit(tiny, tmp_path):
    found = json.loads(marey("fit", tiny, "--json").stdout)
    assert found["model"] == tiny.name and {row["name"] for row in found["targets"]} >= set(PRESETS)
    assert all({"mode", "why", "cycles", "tokens_per_second", "memory"} <= set(row) for row in found["targets"])
    lines = marey("fit", tiny).stdout.splitlines()
    assert len(lines) == 3 + len(found["targets"]) and lines[1].split()[:3] == ["sim8x8", "sim8x8", "resident"]
    refused("fit", tmp_path / "absent.bin", word="no such file")


@pytest.mark.filterwarnings("default::marey.sw.errors.FormatWarning")
def test_a_warning_is_one_line(tiny, tmp_path):
    """A tokenizer with padding beyond the vocabulary is read, and the rest of the command is done."""
    marey("export", tiny, "-o", tmp_path / "m")
    path = tmp_path / "m" / "tokenizer.json"
    about = json.loads(path.read_text())
    about["added_tokens"].append({"id": 384, "content": "<pad>", "single_word": False, "lstrip": False, "rstrip": False,
                                  "normalized": False, "special": True})
    path.write_text(json.dumps(about))
    done = marey("export", tmp_path / "m", "-o", tmp_path / "m.gguf")
    (line,) = done.stderr.splitlines()
    assert done.exit_code == 0 and line.startswith("marey: warning: ") and "'<pad>'" in line
    assert (tmp_path / "m.gguf").exists()


def test_a_program_by_hand_takes_what_was_said(tmp_path):
    """Of a run that is asked for a token."""
    by_hand, program = tmp_path / "x.asm", tmp_path / "x.marey"
    by_hand.write_text("HALT if_prompt=1\nTOKEN\nHALT\n")
    said = marey("asm", by_hand, "-o", program).stdout
    (run,) = json.loads(marey("run", program, "--backend", "emulator", "--json").stdout)["runs"]
    assert run["predicted_cycles"] == run["measured_cycles"] and f", {run['predicted_cycles']} cycles" in said


def test_a_prompt_from_standard_input(tiny):
    generate = ["--backend", "emulator", "--config", "tiny4x8", "--steps", "2", "--model", str(tiny)]
    read = CliRunner().invoke(main, ["generate", "-", *generate], input="once upon\n")
    assert read.exit_code == 0 and read.stdout == marey("generate", "once upon", *generate).stdout


def test_characters_without_a_token_are_named(tiny, monkeypatch):
    """A model without tokens for bytes does not see some characters, and the command says which."""
    monkeypatch.setattr(Tokenizer, "unencodable", lambda self, text: ["ó", "\n"])
    told = marey("generate", "once", "--model", tiny, "--backend", "emulator", "--config", "tiny4x8", "--steps", 2)
    assert told.exit_code == 0 and told.stderr == (
        "marey: warning: the model's vocabulary has no token for 'ó' '\\n': the model does not see them\n")


def test_a_reader_that_has_had_enough(tiny, tmp_path):
    """Closes the pipe, and hears no complaint."""
    program = tmp_path / "x.marey"
    marey("compile", tiny, "-o", program)
    command = [sys.executable, "-c", "from marey.sw.cli import main; main()", "timetable", program, "--position", "0", "--text"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait() in (0, 1)


def test_a_full_context(tiny):
    """The table says so if a text ends because the context is full, and only then; it counts the tokens that --steps does."""
    room = load_model(tiny).config.seq_len - 1
    for steps in (room, room + 1):
        told = marey("generate", "a", "--model", tiny, "--backend", "emulator", "--steps", steps).stdout
        assert f" {room} generated after 2 of the prompt" in told
        assert ("as many as the tile has room for" in told) == (steps > room)


def test_a_streamed_program(tmp_path):
    """It compiles, runs, is listed, reported on and drawn; one run is measured at a time, and nothing burns it in."""
    model = write_tiny(tmp_path, ModelConfig(dim=32, hidden_dim=64, n_layers=12, n_heads=4, n_kv_heads=4, vocab_size=384,
                                             seq_len=16, tied=False))
    program = tmp_path / "x.marey"
    assert "streamed: " in marey("compile", model, "-o", program, "--config", "ecp5_8x8").stdout
    found = json.loads(marey("run", program, "--backend", "emulator", "--steps", 2, "--json").stdout)
    assert found["predicted_cycles"] == found["measured_cycles"] > 0
    assert "classifier" in marey("disasm", program).stdout
    assert json.loads(marey("report", program, "--position", 3, "--json").stdout)["mode"] == "streamed"
    assert "layer 11" not in marey("timetable", program, "--text", "--position", 0, "-o", tmp_path / "x.html").stderr
    assert "long" not in marey("timetable", program, "--perfetto", tmp_path / "x.json", "--position", 0).stderr
    refused("timetable", program, "--measure", "--position", 0, word="one run is measured")
    refused("run", program, "--backend", "emulator", "--burned", code=1, word="does not hold")
    for verb in ("build", "virtual"):
        refused(verb, "--board", "ulx3s-45f", "--model", program, "-o", tmp_path / "x", word="cannot be burned in")
        assert not (tmp_path / "x").exists()
