"""The command line where something around it is missing, full or closed: one line that says so, and no traceback."""

import json
import os
import subprocess
import sys

import pytest

from marey.sim import backends
from marey.sim.cache import CacheError
from marey.sw.cli.text import _read_prompt
from tests.sw.commands import marey, refused

MAREY = [sys.executable, "-c", "from marey.sw.cli import main; main()"]


def shell(redirected, *arguments, **environment):
    """Runs a command in a process of its own, with a shell's redirections."""
    return subprocess.run(["sh", "-c", f'exec "$@" {redirected}', "sh", *MAREY, *map(str, arguments)], capture_output=True,
                          encoding="utf-8", env={**os.environ, "PYTHONUNBUFFERED": "", **environment})


@pytest.fixture(scope="module")
def program(tiny, tmp_path_factory):
    """The file of a small program."""
    file = tmp_path_factory.mktemp("program") / "tiny.marey"
    assert marey("compile", tiny, "--config", "tiny4x8", "-o", file).exit_code == 0
    return file


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
@pytest.mark.parametrize("command", ["--version", "disasm {}"])
def test_standard_output_is_full(program, command):
    told = shell("> /dev/full", *command.format(program).split())
    assert (told.returncode, told.stderr) == (2, "marey: standard output: No space left on device\n")


def test_streams_are_closed(program):
    closed = shell("<&-", "asm", "-", "-o", os.devnull)
    assert (closed.returncode, closed.stdout) == (2, "")
    assert closed.stderr == "marey: the program is to come from standard input, and there is none\n"
    assert json.loads(shell("<&- 2>&-", "run", program, "--backend", "emulator", "--steps", 2, "--json").stdout)["text"]


def test_language_settings_without_utf8():
    """The bytes of a prompt are UTF-8, whatever Python takes them for."""
    assert _read_prompt("hé".encode().decode("ascii", "surrogateescape")) == _read_prompt("hé") == "hé"


@pytest.mark.parametrize("by_name", [False, True])
def test_a_simulator_that_cannot_be_built(program, monkeypatch, by_name):
    """The emulator takes its place, and is named; unless it was asked for."""
    def full(config):
        raise CacheError(program.parent, OSError(28, "No space left on device"))

    monkeypatch.setitem(backends.OPENERS, "verilator", full)
    monkeypatch.setattr(backends, "missing", lambda: None)
    run = ["run", program, "--steps", 2, "--json"]
    if by_name:
        refused(*run, "--backend", "verilator", code=1, word="No space left on device")
        return
    told = marey(*run)
    assert told.exit_code == 0 and json.loads(told.stdout)["backend"] == "emulator"
    (line,) = told.stderr.splitlines()
    assert line.startswith("marey: running the emulator: the cache folder") and "No space left on device" in line


def test_options_of_a_board_are_checked_before_the_work(tiny, monkeypatch):
    monkeypatch.setattr("marey.sw.cli.calibrations.quantised", lambda *arguments, **options: pytest.fail("calibrated"))
    generate = ["generate", "x", "--model", tiny, "--config", "tiny4x8"]
    refused(*generate, "--port", "/dev/no-such-port", code=1, word="there is no port /dev/no-such-port")
    refused(*generate, "--backend", "serial", code=1, word="name it with --port")
    for patience in ("nan", "inf"):
        refused(*generate, "--backend", "emulator", "--patience", patience, word="a number of seconds")
