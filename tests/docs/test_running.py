"""The commands of the pages run: those about boards with the hardware stubbed, all others as they stand."""

import shlex
import subprocess
from functools import partial

import pytest
from click.testing import CliRunner

from marey.boards import flow
from marey.boards.records import builds
from marey.sim.endpoint import Endpoint
from marey.sw.cli import main
from marey.sw.quant.calibrate import calibrate
from marey.sw.quant.quantise import quantise
from tests.docs.pages import FETCHED, ROOT, blocks, commands

RUNNING = ROOT / "docs" / "running.md"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def with_stories(folder, stories):
    """The same, with stories260K in it, as README.md's reader has it."""
    for path in (stories, stories.with_name("tok512.bin")):
        (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture
def bench_of_boards(monkeypatch):
    """Boards that are not there: builds are those on record, a programmer does nothing, a port leads to an emulated tile that
    keeps its state. Returns the programmer's commands."""
    tiles, flashed = {}, []

    def build(board, folder, program=None, **_):
        if program:
            program.check_burnable(board.tile)
        folder.mkdir(parents=True, exist_ok=True)
        flow.bitstream(board, folder).write_bytes(b"")
        if program and board.flash_at is not None:
            flow.image(folder).write_bytes(b"")
        return builds()[board.name]

    def flash(command):
        flashed.append(command)
        return subprocess.CompletedProcess(command, 0)

    def open_transport(config, backend, **_):
        assert backend == "serial"
        return tiles.setdefault(config.name, Endpoint(config))

    monkeypatch.setattr("marey.sw.cli.boards.build", build)
    monkeypatch.setattr("marey.sw.cli.boards.synthesise", lambda *_: None)
    monkeypatch.setattr("marey.sw.cli.boards.shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("marey.sw.cli.boards.subprocess.run", flash)
    monkeypatch.setattr("marey.boards.virtual.virtual_board", lambda *_: None)
    monkeypatch.setattr("marey.boards.virtual.patience", lambda *_: 60)
    monkeypatch.setattr("marey.boards.virtual.serve", lambda *_: None)
    monkeypatch.setattr("marey.sw.cli.base.open_transport", open_transport)
    monkeypatch.setattr("marey.sw.cli.base.check_port", lambda port: None)
    # A short calibration, whose integers are worse, and no proof of the rules, which takes most of the time.
    for module in ("compiler.compile", "program.program"):
        monkeypatch.setattr(f"marey.sw.{module}.verify_once", lambda program: None)
    monkeypatch.setattr("marey.sw.quant.quantise.calibrate", partial(calibrate, batch=4))
    monkeypatch.setattr("marey.sw.quant.calibrate.STEPS", 16)
    monkeypatch.setattr("marey.sw.cli.calibrations.quantised", lambda model, **how: quantise(model, **how))
    return flashed


def run(line):
    """Runs a `marey` command in this process; it must succeed."""
    result = CliRunner().invoke(main, list(line))
    assert result.exit_code == 0, (shlex.join(line), result.output, result.exception)
    return result


def test_commands_about_boards(bench_of_boards, with_stories):
    """Line by line; text is cut short, so that the emulator does not tell whole stories."""
    lines = [list(command.words[1:]) for command in commands(RUNNING)
             if command.language == "sh" and not any(map(FETCHED.fullmatch, command.words))]
    assert len(lines) >= 10
    for line in lines:
        result = run([*line, "--steps", "3"] if line[0] in ("generate", "run") else line)
        if line[0] in ("generate", "run"):
            assert "cycles measured" in result.stdout
    assert all(command[0] == "openFPGALoader" for command in bench_of_boards) and len(bench_of_boards) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/running.md", "docs/timetable.md", "docs/training.md"])
def test_commands_run(compiler, with_stories, page):
    """All `marey` commands in the console blocks of a page, in order."""
    ran = 0
    for command in commands(ROOT / page):
        if command.words[0] == "marey" and command.language == "console":
            output = run(command.words[1:]).stdout
            if command.output:
                (with_stories / command.output).write_text(output)
            ran += 1
    assert ran >= 1


@pytest.mark.slow
def test_python(compiler, with_stories, capsys):
    (code,) = blocks(RUNNING, "python")
    exec(code, {})
    assert capsys.readouterr().out.startswith("Once upon a time, there was a little girl")
