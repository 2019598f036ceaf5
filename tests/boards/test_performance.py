"""The benchmark command: its ratios, its derived figures, and how it measures a command."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from marey.boards import performance
from marey.boards.performance import BASELINE, Commands, Figure, derived, table
from marey.hdl.spec.errors import MareyError

SPEED = Figure("a speed", 30.0, "1/s", "derived", True)
TIME = Figure("a time", 2.0, "CPU s", "measured", False)


def test_a_ratio_above_1_is_better():
    assert SPEED.ratio(20) == 1.5 and TIME.ratio(3) == 1.5 and replace(TIME, value=6.0).ratio(3) == 0.5


def test_figures_that_were_not_known_before_have_no_ratio():
    lines = table([SPEED, TIME], {"a time": 3.0})
    assert lines[1].split() == ["a", "speed", "-", "30", "1/s", "-", "derived"]
    assert lines[2].split() == ["a", "time", "3", "2", "CPU", "s", "x1.50", "measured"]


def test_derived_figures_have_the_names_of_the_baseline(stories, monkeypatch):
    monkeypatch.setattr(performance, "TILES", ("sim4x4",))
    monkeypatch.setattr(performance, "BOARDS", {"orangecrab-85f": performance.BOARDS["orangecrab-85f"]})
    figures, before = {figure.name: figure for figure in derived(stories)}, json.loads(BASELINE.read_text())["figures"]
    assert len(figures) == 4 and len(figures.keys() & before.keys()) == 3
    better = [name for name, value in before.items() if name in figures and figures[name].ratio(value) > 1]
    assert better == [name for name in before if name in figures]


def test_a_command_is_measured_with_a_cache_of_its_own(tmp_path):
    commands = Commands(None, tmp_path)
    spent, printed = commands.run("configs")
    assert spent > 0.1 and "sim8x8" in printed
    with pytest.raises(MareyError, match=r"^marey compile nothing -o x failed: .*nothing"):
        commands.run("compile", "nothing", "-o", "x")


def test_a_command_of_another_checkout(tmp_path):
    """Its package comes before the one that is installed."""
    project = tmp_path / "project"
    (project / "sw" / "cli").mkdir(parents=True)
    for folder in (project / "sw", project / "sw" / "cli"):
        (folder / "__init__.py").write_text("def main(): print('another')\n")
    (tmp_path / "run").mkdir()
    assert Commands(Path(project), tmp_path / "run").run()[1] == "another\n"
