"""The README keeps its word: its commands run, its Python runs, its figures are the tile's."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from marey.boards.all import BOARDS
from marey.boards.records import builds
from marey.hdl.manual import manual
from marey.hdl.spec.config import preset
from marey.sim.backends import open_transport
from marey.sw.cli import main
from marey.sw.cli.compiling import compile_file
from marey.sw.compiler.compile import compile_model
from marey.sw.compiler.layout import CompileError
from marey.sw.formats import DEFAULT_MODEL, load_model, load_tokenizer
from marey.sw.runtime.driver import Device
from marey.sw.views.bench import bench
from marey.sw.views.report import report
from marey.sw.views.speed import middle, tokens_per_second

POSITIONS = 128
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
        share = -(-model.graph.macs(position) // config.macs) / cycles
        line = next(line for line in README.splitlines() if line.startswith(f"| stories260K, token at position {position},"))
        assert f"| {cycles:,} | {share:.1%}".replace("%", " %") in line
    streamed = compile_model(model, preset("ecp5_8x8"))
    said = f"in {streamed.cycles(0):,} cycles at position 0 and {streamed.link_words():,} words over the link"
    assert said in " ".join(README.split())


def test_the_table_of_a_token(stories):
    """docs/tile.md's is what `marey report` prints."""
    written = re.findall(r"^\| [^|]+ \| ([\d,]+) \| (\d+) \| (\d+) \|", (ROOT / "docs" / "tile.md").read_text(), re.MULTILINE)
    phases = report(compile_model(load_model(stories), preset("sim8x8")), POSITIONS - 1)["phases"]
    assert [(f"{row['cycles']:,}", f"{row['mac_floor_cycles']:.0f}", str(row["idle_before"])) for row in phases] == written


def speed_cell(board, model):
    """A model's speed on a board, in the middle of its context, as `marey fit` prints it."""
    try:
        program = compile_file(model, None, board.tile)
    except CompileError:
        return "-"
    speed = tokens_per_second(program, board.clock_hz, middle(program), board.baud)
    return f"{speed:.2g}, streamed" if program.stream else f"{speed:,.0f}"


def board_row(name, stories):
    """The README's row of a board that was built: what it takes, the clock that it meets, the speed at the one that it has."""
    built, board = builds()[name], BOARDS[name]
    taken = built["resources"]
    cells = f"{taken['lut']:,} LUT" if "lut" in taken else f"{taken['lc']:,} cells"
    speeds = " | ".join(speed_cell(board, model) for model in (DEFAULT_MODEL, stories))
    return (f"| `{name}` | `{board.tile.name}` | {cells} | {taken['bram']} | {taken['dsp']} | {built['clock_mhz_met']} of "
            f"{built['clock_mhz_target']:g} MHz | {speeds} |")


@pytest.mark.slow
def test_the_table_of_boards(stories):
    """It has every build on record, and no other."""
    assert {board_row(name, stories) for name in builds()} == set(re.findall(r"^\| `[^|]*` \| `[^|]*` \| .* MHz \|.*$", README,
                                                                             re.MULTILINE))
    assert all(built["clock_mhz_met"] >= built["clock_mhz_target"] for built in builds().values())


def test_every_file_of_the_tour_is_there():
    tour = README[README.index("## The tour"):]
    for names in re.findall(r"^\| ((?:`[\w./]+`(?:, )?)+) \|", tour, re.MULTILINE):
        paths = re.findall(r"`([\w./]+)`", names)
        folder = Path(paths[0]).parent
        for path in paths:
            assert (ROOT / path).exists() or (ROOT / folder / path).exists(), path


def test_the_manual_is_up_to_date():
    assert (ROOT / "docs" / "instructions.md").read_text() == manual()
