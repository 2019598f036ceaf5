"""The README keeps its word: its commands run, its Python runs, its figures are the tile's."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from marey.hdl.config import preset
from marey.hdl.manual import manual
from marey.sim.backends import open_transport
from marey.sw.bench import bench
from marey.sw.cli import main
from marey.sw.driver import Device
from marey.sw.formats import load_model, load_tokenizer
from marey.sw.program import compile_model

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [line[2:].split("#")[0].strip() for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
            for line in block.splitlines()]


@pytest.fixture
def folder(stories, tmp_path, monkeypatch):
    """A folder with stories260K in it, as the README's reader has it."""
    for path in (stories, stories.with_name("tok512.bin")):
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands(compiler, folder):
    ran = 0
    for command in COMMANDS:
        if command.startswith("marey"):
            result = CliRunner().invoke(main, shlex.split(command)[1:])
            assert result.exit_code == 0, (command, result.output)
            ran += 1
    assert ran >= 8


def test_make_targets_exist():
    for command in COMMANDS:
        if command.startswith("make"):
            assert subprocess.run(["make", "-n", command.split()[1]], cwd=ROOT, capture_output=True).returncode == 0


def test_python(compiler, folder, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(code, {})
    printed = capsys.readouterr().out
    assert printed.startswith("Once upon a time, there was a little girl")


def test_the_story_is_the_tiles(compiler):
    readme = " ".join(README.split())
    told = CliRunner().invoke(main, ["generate", "Once upon a time, there was a little girl named Lily."]).stdout
    for line in told.splitlines():
        if not line.startswith(("link", "simulated")):
            assert " ".join(line.split()) in readme


def test_figures(compiler, stories):
    """The cycles in the table are what the RTL counts."""
    config = preset("sim8x8")
    cells = {row.name: f"| {row.measured_cycles:,} | {row.utilisation:.1%}".replace("%", " %")
             for row in bench(config, lambda: Device(open_transport(config, "verilator"), config))}
    for name, wanted in cells.items():
        shape = name.split("_")[1]
        line = next(line for line in README.splitlines() if line.startswith("| matrix") and shape in line)
        assert wanted in line, (name, wanted, line)
    model = load_model(stories)
    program = compile_model(model, config, load_tokenizer(None, stories, 512))
    for position in (0, 255):
        cycles = program.cycles(position)
        share = -(-model.config.macs(position) // config.macs) / cycles
        line = next(line for line in README.splitlines() if line.startswith(f"| stories260K, token at position {position},"))
        assert f"| {cycles:,} | {share:.1%}".replace("%", " %") in line


def test_every_file_of_the_tour_is_there():
    for names in re.findall(r"^\| ((?:`[\w./]+`(?:, )?)+) \|", README, re.MULTILINE):
        paths = re.findall(r"`([\w./]+)`", names)
        folder = Path(paths[0]).parent
        for path in paths:
            assert (ROOT / path).exists() or (ROOT / folder / path).exists(), path


def test_the_manual_is_up_to_date():
    assert (ROOT / "docs" / "instructions.md").read_text() == manual()
