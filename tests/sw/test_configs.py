"""Tiles of one's own on the command line: `marey configs`, and --config in every command that has it."""

import json

from marey.hdl.spec.config import PRESETS
from marey.sw.cli import main
from tests.sw.commands import marey, refused

OWN = "tiny4x4,cols=8,lanes=4"


def test_configs_lists_presets_and_fields():
    listed = json.loads(marey("configs", "--json").stdout)
    assert [config["name"] for config in listed["presets"]] == [*PRESETS]
    text = marey("configs").stdout
    assert all(f"\n{name} " in text for name in [*PRESETS, *(field["name"] for field in listed["fields"])])
    assert "a power of two from 1 to 64" in text


def test_a_tile_of_ones_own_in_every_command(tiny, tmp_path, unproved):
    """What one command makes for a tile, another runs; a preset of another shape is refused by its name."""
    program, by_hand, source, file = (tmp_path / name for name in ("a.marey", "b.marey", "halt.asm", "own.toml"))
    source.write_text("HALT\n")
    file.write_text('preset = "tiny4x4"\ncols = 8\nlanes = 4\n')
    commands = {
        "compile": [tiny, "-o", program, "--config", OWN],
        "generate": ["once", "--model", tiny, "--steps", 1, "--backend", "emulator", "--config", file],
        "run": [program, "--steps", 1, "--backend", "emulator"],
        "asm": [source, "-o", by_hand, "--config", file], "report": [program, "--position", 0, "--config", file],
        "timetable": [program, "--position", 0, "--text", "--config", OWN], "verilog": ["-o", tmp_path, "--config", OWN],
    }
    for verb, arguments in commands.items():
        result = marey(verb, *arguments)
        assert result.exit_code == 0, (verb, result.output, result.exception)
    assert (tmp_path / "marey_tiny4x4_cols_8_lanes_4.v").exists()
    refused("report", program, "--config", "tiny4x4", word="compile it with --config tiny4x4")


def test_a_bad_tile_is_refused_in_one_line_by_every_command(tmp_path):
    commands = {verb: main.get_command(None, verb) for verb in main.list_commands(None)}
    takers = [verb for verb, command in commands.items()
              if any("--config" in parameter.opts for parameter in command.params)]
    assert len(takers) > 8
    for verb in takers:
        required = {"asm": ["x", "-o", tmp_path / "x"], "compile": ["x", "-o", tmp_path / "x"],
                    "sweep": ["--over", "rows=4", "-o", tmp_path]}.get(verb, [])
        for config in ("nonesuch", "sim8x8,rows=3", tmp_path / "none.toml"):
            refused(verb, *required, "--config", config)
