"""The boards: their definitions, clocks and commands.

Synthesis has tests of its own (`test_flow.py`).
"""

import importlib
import json
import pkgutil
import re
from dataclasses import replace
from functools import partial

import amaranth_boards
import pytest
from amaranth import Module
from amaranth.build import Platform
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from marey.boards import bitstreams, families, flow, records, tools
from marey.boards.all import BOARDS
from marey.boards.board import Board
from marey.boards.pll import STEPS, ecp5_delay, ecp5_setting, ice40_setting
from marey.hdl.dram.pins import address_width
from marey.hdl.link.uart import divisor
from marey.hdl.spec.config import PRESETS
from marey.hdl.spec.errors import MareyError
from marey.sw.cli import main

every_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)


def marey(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@every_board
def test_a_board_is_sound(board):
    """Its tile exists, a PLL makes its clock, the clock makes the UART's rate, and its pins
    exist."""
    assert PRESETS[board.tile.name] == board.tile and divisor(board.clock_hz, board.baud) >= 4
    platform = board.platform()
    rate = board.tile.memory.rate if board.tile.memory else 1
    setting = partial(ecp5_setting, rate=rate) if board.is_ecp5 else ice40_setting
    setting(platform.default_clk_frequency, board.clock_hz)
    assert board.is_ecp5 or board.device.startswith("iCE40")
    assert board.uart in platform.resources
    assert {pin.name for pin in platform.resources[board.uart].ios} >= {"rx", "tx"}
    assert any("{file}" in part for part in board.programmer)
    if board.tile.memory:
        part, pins = board.tile.memory.chip.part, {pin.name: pin.ios[0] for pin in platform.resources[board.sdram].ios}
        widths = {"clk": 1, "we": 1, "cas": 1, "ras": 1, "ba": 2, "a": address_width(part), "dq": part.bus_bits}
        assert board.tile.sdram_mhz * 1e6 == board.clock_hz and widths == {name: len(pins[name]) for name in widths}
        assert all(pins[name].invert for name in ("we", "cas", "ras"))


@given(st.sampled_from([12e6, 16e6, 25e6, 48e6, 100e6]), st.floats(17e6, 200e6))
def test_ice40_dividers(input_hz, output_hz):
    """Each setting that is found keeps the PLL in its ranges, and makes the clock within 1 %."""
    try:
        found = ice40_setting(input_hz, output_hz)
    except MareyError as error:
        assert "no PLL makes" in str(error)
        return
    compared = input_hz / (found.divr + 1)
    oscillator = compared * (found.divf + 1)
    assert 10e6 <= compared <= 133e6 and 533e6 <= oscillator <= 1066e6 and 1 <= found.filter_range <= 6
    assert abs(oscillator / 2**found.divq / output_hz - 1) <= 0.01


@given(st.sampled_from([12e6, 25e6, 48e6, 100e6]), st.floats(17e6, 300e6), st.sampled_from([1, 2]))
def test_ecp5_dividers(input_hz, output_hz, rate):
    try:
        found = ecp5_setting(input_hz, output_hz, rate)
    except MareyError as error:
        assert "no PLL makes" in str(error)
        return
    compared = input_hz / found.reference
    assert 10e6 <= compared <= 400e6 and 400e6 <= compared * found.multiple <= 800e6 and 1 <= found.divider <= 128
    assert found.divider % rate == 0
    assert abs(compared * found.multiple / found.divider / output_hz - 1) <= 0.01


@given(st.integers(1, 64), st.floats(0, 360))
def test_the_phase_of_a_second_output(divider, degrees):
    """It is the nearest that the PLL has, and within the range of its fields."""
    cycles, steps = ecp5_delay(divider, degrees)
    later = cycles - (divider - 1) + steps / STEPS
    assert 0 <= cycles <= 127 and 0 <= steps < STEPS and abs(later / divider - degrees / 360) * divider * STEPS <= 0.51


def test_known_dividers():
    """24 MHz from 12 are what icepll gives for an iCE40; an ECP5 makes 80 MHz from 25 through
    400."""
    found = ice40_setting(12e6, 24e6)
    assert (found.divr, found.divf, found.divq, found.filter_range) == (0, 63, 5, 1)
    found = ecp5_setting(25e6, 80e6)
    assert (found.reference, found.multiple, found.divider) == (1, 16, 5)


def test_the_table():
    rows = json.loads(marey("boards", "--json").stdout)
    assert [row["board"] for row in rows] == list(BOARDS)
    text = marey("boards").stdout
    assert len(text.splitlines()) == 1 + len(BOARDS) and "icebreaker" in text and "iCE40UP5K-SG48" in text


def test_no_such_board(tmp_path):
    for verb in ("build", "flash", "virtual"):
        result = marey(verb, "--board", "breadboard", "-o", tmp_path)
        assert result.exit_code == 2 and "icebreaker" in result.stderr and len(result.stderr.splitlines()) == 1


@every_board
def test_flash(board, tmp_path, monkeypatch):
    """Without a bitstream, a line says how to build it; without the programmer, its command is
    printed."""
    result = marey("flash", "--board", board.name, "-o", tmp_path)
    assert result.exit_code == 2 and "marey build" in result.stderr
    file = flow.bitstream(board, tmp_path)
    file.write_bytes(b"")
    monkeypatch.setenv("PATH", str(tmp_path))
    result = marey("flash", "--board", board.name, "-o", tmp_path)
    assert result.exit_code == 2 and str(file) in result.stdout and "not on PATH" in result.stderr
    if board.flash_at is not None:
        flow.image(tmp_path).write_bytes(b"")
        result = marey("flash", "--board", board.name, "-o", tmp_path)
        assert result.stdout.splitlines()[1].endswith(f"{flow.image(tmp_path)} -o {board.flash_at}")
    (tmp_path / board.programmer[0]).write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / board.programmer[0]).chmod(0o755)
    assert marey("flash", "--board", board.name, "-o", tmp_path, "--dry-run").stdout == result.stdout
    result = marey("flash", "--board", board.name, "-o", tmp_path)
    assert result.exit_code == 2 and "status 3" in result.stderr


@pytest.mark.parametrize("met", [28.1, 26.9])
def test_build(met, tmp_path, monkeypatch):
    """A build has all keys; one that does not meet its clock fails, as text and as JSON."""
    for step in ("design", "synthesise", "pack"):
        monkeypatch.setattr(flow, step, lambda *_: None)
    placed = {"clock_mhz_met": met, "resources": {"lc": 1, "bram": 2}, "critical_path": ["a", "b"]}
    monkeypatch.setattr(flow, "place", lambda *_: placed)
    result = marey("build", "--board", "upduino", "-o", tmp_path, "--json")
    found = json.loads(result.stdout)
    assert set(found) >= {"board", "device", "config", "clock_mhz_target", "clock_mhz_met", "resources", "bitstream"}
    assert result.exit_code == int(met < 27) and found["clock_mhz_target"] == 27
    text = marey("build", "--board", "upduino", "-o", tmp_path)
    assert "a > b" in text.stdout and "2 bram" in text.stdout and text.exit_code == result.exit_code


def test_the_page_is_up_to_date():
    assert bitstreams.PAGE.read_text() == bitstreams.page(records.builds())


def test_the_page_of_builds(tmp_path, monkeypatch):
    """Each build is kept beside the others, and one that does not meet its clock is named at the
    end."""
    folder, builds = tmp_path / "docs", tmp_path / "builds.json"
    folder.mkdir()
    taken = {"lut": 1200, "ff": 3, "bram": 0, "dsp": 5, "spram": 0}
    monkeypatch.setattr(bitstreams, "build", lambda board, folder, **_: {
        "board": board.name, "config": board.tile.name, "clock_mhz_target": 80.0, "seconds": 600, "bitstream": "x.bit",
        "clock_mhz_met": 79.9 if board.name == "ulx3s-85f" else 81.5, "critical_path": ["a", "b"],
        "resources": {"lut": 1200, "ff": 3, "bram": 4, "dsp": 5}, "slices": {"inside": taken}})
    monkeypatch.setattr(records, "BUILDS", builds)
    monkeypatch.setattr(bitstreams, "PAGE", folder / "boards.md")
    run = CliRunner().invoke
    assert run(bitstreams.main, ["ulx3s-45f"]).exit_code == 0
    late = run(bitstreams.main, ["ulx3s-85f"])
    assert late.exit_code == 1 and "ulx3s-85f meets 79.9 MHz of 80" in late.output
    page = (folder / "boards.md").read_text()
    assert "| ulx3s-45f | `ecp5_8x8` | 1,200 |  | 3 | 4 | 5 |  | 80 | 81.5 | 10 |" in page
    assert "| inside | 1,200 |  | 3 |  | 5 |  |" in page
    assert list(json.loads(builds.read_text())) == ["ulx3s-45f", "ulx3s-85f"] and "`a` > `b`" in page
    row = json.loads(marey("boards", "--json").stdout)
    assert {found["board"]: found["clock_mhz_met"] for found in row}["ulx3s-45f"] == 81.5


@pytest.mark.parametrize(("clocks", "ran", "met"), [
    ({4: 24.5}, [4], 24.5), ({4: 20, 5: 25, 6: 30}, [4, 5], 25), ({4: 22, 5: 23.99, 6: 20}, [4, 5, 6, 5], 23.9),
    ({5: 26}, [4, 5], 26), ({4: 23, 5: 22}, [4, 5, 6, 4], 23), ({}, [4, 5, 6], None)])
def test_seeds(clocks, ran, met, tmp_path, monkeypatch):
    """The first seed that meets the clock is taken, else the best. A seed that is not routed in
    time is skipped.

    A second call runs nothing.
    """
    tried, said, folder, board = [], [], tmp_path / "folder", replace(BOARDS["upduino"], clock_hz=24e6)

    def run(folder, tool, *options, limit_s=None):
        tried.append(int(options[-1]))
        if tried[-1] not in clocks:
            raise tools.ToolTimeout("late")
        (folder / "report.json").write_text(json.dumps({
            "fmax": {"clk": {"achieved": clocks[tried[-1]]}}, "utilization": {}, "critical_paths": []}))

    monkeypatch.setattr(flow, "run", run)
    folder.mkdir()
    if met is None:
        with pytest.raises(tools.ToolTimeout, match="routed none of 3 seeds"):
            flow.place(board, folder, 4, said.append)
    for _ in range(2 if met else 0):
        assert flow.place(board, folder, 4, said.append)["clock_mhz_met"] == met
    assert tried == ran and len(said) == len(set(ran)) - any(clock >= 24 for clock in clocks.values())


def test_tools(tmp_path, monkeypatch):
    """A tool that is missing and one that fails give one line each; what a tool printed is in its
    log."""
    with pytest.raises(tools.ToolError, match="nextpnr-nonesuch is not on PATH"):
        tools.find("nextpnr-nonesuch")
    program = tmp_path / "placer"
    program.write_text("#!/bin/sh\necho 'ERROR: no room'\necho done\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(tools.ToolError, match="placer failed: ERROR: no room"):
        tools.run(tmp_path, "placer")
    assert (tmp_path / "placer.log").read_text() == "ERROR: no room\ndone\n"


def lattice_platforms():
    """All platforms of amaranth-boards that have an ECP5 or an iCE40."""
    for module in pkgutil.iter_modules(amaranth_boards.__path__):
        found = vars(importlib.import_module(f"amaranth_boards.{module.name}")).values()
        yield from (kind for kind in found if isinstance(kind, type) and issubclass(kind, Platform)
                    and str(getattr(kind, "device", "")).startswith(("LFE5U", "iCE40")))


@pytest.mark.parametrize("platform", sorted(set(lattice_platforms()), key=lambda kind: kind.__name__),
                         ids=lambda kind: kind.__name__)
def test_nextpnr_is_called_as_amaranth_would(platform):
    """Device, package and speed, of every board that could be added."""
    script = platform().prepare(Module(), "top").files["build_top.sh"]
    board = Board(name="b", title="b", platform=platform, tile=PRESETS["hx8k_2x2"], clock_hz=24e6, programmer=("p",))
    options = " ".join(flow.device_options(board))
    (device, package), speed = re.match(r"--(\S+) --package (\S+)", options).groups(), re.search(r"--speed \d", options)
    assert f"--{device} " in script and f"--package {package} " in script
    assert speed is None or speed[0] in script


def test_report(tmp_path):
    """The clock is that of the slowest domain; the critical path has the names of components and
    signals."""
    path = [{"delay": 1.0, "net": "serial.tile.mxm.column0.sum_SB_LUT4_O_1[3]"}, {"delay": 0.5, "net": "$abc$17"},
            {"delay": 2.0, "net": "serial.tile.vxm.shift[4]"}, {"delay": 0.4, "net": "serial.tile.vxm.shift[5]"}]
    report = {"fmax": {"clk": {"achieved": 26.04, "constraint": 24}, "slow": {"achieved": 90}},
              "utilization": {"ICESTORM_LC": {"used": 10, "available": 20}, "ICESTORM_RAM": {"used": 3}},
              "critical_paths": [{"from": "posedge clk", "to": "posedge clk", "path": path},
                                 {"from": "<async>", "to": "posedge clk", "path": [{"delay": 99, "net": "rx"}]}]}
    (tmp_path / "report.json").write_text(json.dumps(report))
    found = families.report(families.ICE40, tmp_path)
    assert found == {"clock_mhz_met": 26.0, "resources": {"lc": 10, "bram": 3, "dsp": 0, "spram": 0},
                     "critical_path": ["serial.tile.mxm.column0.sum", "serial.tile.vxm.shift"]}
