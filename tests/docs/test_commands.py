"""Every command in every page parses: its options, presets, boards, files, targets and tests exist.

Slow tests run those that need nothing but time (`test_running.py`).
"""

import importlib.util
import re
import tomllib
from pathlib import Path

import click
import pytest

from marey.boards.all import BOARDS
from marey.hdl.spec.errors import MareyError
from marey.sw.cli import main
from tests.docs.pages import FETCHED, PAGES, ROOT, commands, inline_commands, name_of

EXAMPLES = {"icesugar"}
"""Boards that a recipe adds."""
PLACEHOLDERS = {"COMMAND", "FILE", "MODEL", "NAME", "BOARD"}
"""What stands in running text for a name of the reader's."""
GIVEN = {"stories260K.bin", "tok512.bin"}
"""Files that the reader has, as README.md says."""
OUTPUTS = {"output", "perfetto", "vcd", "fst"}
"""Parameters that name a file which the command writes."""
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def marey(words, files, output):
    """Parses a `marey` command with click; adds to `files` those that it would write."""
    verb, *arguments = words
    if verb.startswith("-"):
        main.make_context("marey", list(words), resilient_parsing=True)
        return
    command = main.get_command(None, verb)
    for name in files:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    with command.make_context(verb, arguments, parent=click.Context(main)) as context:
        values = dict(context.params)
    for parameter in command.params:
        value = values.get(parameter.name)
        if parameter.name == "board_name":
            assert value in BOARDS or value in EXAMPLES, value
        if isinstance(parameter.type, click.Path | click.File) and value is not None:
            if parameter.name in OUTPUTS:
                files.add(str(value))
                continue
            name = value.name if isinstance(parameter.type, click.File) else str(value)
            known = name in files or (Path(name).is_absolute() and Path(name).exists()) or FETCHED.fullmatch(name)
            assert known, f"{name} is made by no line above"
    if output:
        files.add(output)


def make(words, files, output):
    for word in words:
        assert word in TARGETS or re.match(r"[A-Z]+=", word), word


def pytest_(words, files, output):
    """Paths exist, and every word of -k is in the tests."""
    rest = iter(words)
    for word in rest:
        if word == "-k":
            names = set(re.findall(r"\w+", next(rest))) - {"and", "or", "not"} - EXAMPLES
            assert all(name in TESTS or name in BOARDS for name in names), names
        elif word in ("-m", "-n"):
            next(rest)
        elif not word.startswith("-"):
            assert (ROOT / word).exists(), word


def python(words, files, output):
    if words[0] == "-c":
        compile(words[1], "page", "exec")
        return
    assert words[0] == "-m"
    if words[1] == "pytest":
        pytest_(words[2:], files, output)
        return
    assert words[1].split(".")[0] in ("marey", "tests") and importlib.util.find_spec(words[1]), words[1]


def pip(words, files, output):
    assert words[0] == "install"
    for extras in re.findall(r"\[(.*)\]", " ".join(words)):
        assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"]), extras


def anything(words, files, output):
    pass


PROGRAMS = {"marey": marey, "make": make, "pytest": pytest_, "python": python, "pip": pip, "source": anything,
            "export": anything, "git": anything, "ruff": anything,
            "curl": anything}
"""Programs that pages call, and what checks their arguments. Another one fails, so that somebody looks at it."""


@every_page
def test_commands_parse(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = set(GIVEN)
    for command in commands(page):
        program, *words = command.words
        try:
            PROGRAMS[program](words, files, command.output)
        except (click.ClickException, MareyError, AttributeError, KeyError, AssertionError) as error:
            pytest.fail(f"{command}: {type(error).__name__} {error}")


@every_page
def test_commands_in_running_text_exist(page):
    """Their verbs and options do; names may be placeholders."""
    for command in inline_commands(page):
        program, *words = command.words
        words = [word for word in words if word not in PLACEHOLDERS]
        try:
            if program == "marey":
                known = {option for parameter in main.get_command(None, words[0]).params for option in parameter.opts} if (
                    words and not words[0].startswith("-")) else set()
                options = {word.split("=")[0] for word in words if word.startswith("--")}
                assert options <= known | {"--help", "--verify", "--no-verify"}, options - known
            else:
                PROGRAMS[program](words, set(GIVEN), None)
        except (AttributeError, KeyError, AssertionError) as error:
            pytest.fail(f"{command}: {type(error).__name__} {error}")


def test_commands_are_found():
    """The pages have commands of all kinds, and the parser finds them."""
    found = [command for page in PAGES for command in commands(page)]
    assert len(found) > 60 and {"marey", "make", "pytest", "python"} <= {command.words[0] for command in found}
    assert sum(1 for page in PAGES for _ in inline_commands(page)) > 40


def test_what_is_wrong_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wrong = ["generate --model other.bin", "build --board breadboard", "compile --config sim9x9 -o x", "report --nonsense"]
    for line in wrong:
        with pytest.raises((click.ClickException, MareyError, AssertionError)):
            marey(line.split(), set(GIVEN), None)
    for check, line in ((make, "nonsense"), (pytest_, "tests/nowhere.py"), (python, "-m marey.nowhere"),
                        (pytest_, "-k no_" + "such_test"), (pip, "install marey[nonsense]")):
        with pytest.raises((AssertionError, ModuleNotFoundError)):
            check(line.split(), set(), None)
