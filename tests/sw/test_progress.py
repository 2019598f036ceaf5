"""Commands whose work may take long say on a terminal what they do, and for how long."""

import time

import pytest

from marey.hdl.spec.config import preset
from marey.sim import progress
from marey.sw.cli import pace
from marey.sw.compiler.compile import schedule
from marey.sw.compiler.plan import lay_out_model
from marey.sw.quant.outline import outline_of_shape
from tests.sw.commands import marey


@pytest.fixture
def terminal(monkeypatch, tmp_path):
    """Progress is shown at once, as if stderr were a terminal, and no calibration is in the cache."""
    for module in (progress, pace):
        monkeypatch.setattr(module, "on_terminal", lambda: True)
    monkeypatch.setattr(progress, "DELAY_S", 0)
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.parametrize(("command", "shown"), [
    ("generate once --model {} --backend emulator --steps 2",
     ["reading", "calibrating", "compiling", "loading the tile: 0 s", "token 1, "]),
    ("bench --backend emulator --config tiny4x4", ["gemv_64x64, "]),
])
def test_commands_show_their_progress(tiny, terminal, tmp_path, monkeypatch, command, shown):
    monkeypatch.chdir(tmp_path)
    told = marey(*command.format(tiny).split())
    assert told.exit_code == 0, told.output
    for words in shown:
        assert words in told.stderr
    assert "\r" not in told.stdout and " s of about " not in told.stdout


def test_the_pace_of_tokens(tiny_model, terminal, capsys):
    """Cycles are known beforehand; seconds come from the simulator's speed, and then from the tokens that were made."""
    config, outline = preset("tiny4x8"), outline_of_shape(tiny_model.config)
    program = schedule(lay_out_model(config, outline), outline)
    paced = pace.Pace(program, 100.0)
    for position, seconds in ((0, program.cycles(0, False) / 100), (1, 0), (2, 0)):
        with paced(position, 2):
            time.sleep(0.05)
        line = capsys.readouterr().err
        assert ("token 1 of the 2 of the prompt, " if position == 0 else f"token {position}, ") in line
        assert f"{program.cycles(position, position > 0):,} cycles: 0 s of about {seconds:.0f}" in line
    with pace.Pace(program, None)(0, 1):
        time.sleep(0.05)
    assert "cycles: 0 s\x1b" in capsys.readouterr().err
