"""README.md keeps its word: its story is the tile's, its table of boards is what was built and what `marey fit` says.

Its commands, links and length are tested with those of the other pages, in `tests/docs/`.
"""

import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from marey.boards.all import BOARDS
from marey.boards.records import builds
from marey.boards.targets import targets
from marey.sw.cli import main
from marey.sw.formats import DEFAULT_MODEL, load_model
from marey.sw.views.fit import fit

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_story_is_the_tiles(compiler):
    readme = " ".join(README.split())
    told = CliRunner().invoke(main, ["generate", "Once upon a time, there was a little girl named Lily."]).stdout
    for line in told.splitlines():
        if not line.startswith(("link", "simulated")):
            assert " ".join(line.split()) in readme


def speeds(path):
    """A model's speed on each board, by name, as the README has it."""
    model, cells = load_model(path), {}
    for row in fit(model.config, [target for target in targets() if target.name in BOARDS], model):
        speed = row["tokens_per_second"]
        cells[row["name"]] = {"no": "-", "resident": f"{speed or 0:,.0f}",
                              "streamed": f"{speed or 0:{',.0f' if (speed or 0) > 99 else '.2g'}}, streamed"}[row["mode"]]
    return cells


def board_row(name, speeds):
    """The README's row of a board: what its bitstream takes, the clock that it meets, its speeds."""
    built, board = builds()[name], BOARDS[name]
    taken = built["resources"]
    cells = f"{taken['lut']:,} LUT" if "lut" in taken else f"{taken['lc']:,} cells"
    return (f"| `{name}` | `{board.tile.name}` | {cells} | {taken['bram']} | {taken['dsp']} | {built['clock_mhz_met']} of "
            f"{built['clock_mhz_target']:g} MHz | {' | '.join(speeds)} |")


@pytest.fixture(scope="module")
def both_speeds(stories):
    """By board: the speeds of the two models in the table."""
    ours, theirs = speeds(DEFAULT_MODEL), speeds(stories)
    return {name: (ours[name], theirs[name]) for name in ours}


def test_the_table_of_boards(both_speeds):
    """It has every build on record, and no other."""
    expected = [board_row(name, both_speeds[name]) for name in builds()]
    assert re.findall(r"^\| `[^|]*` \| `[^|]*` \| .* MHz \|.*$", README, re.MULTILINE) == expected


def test_boards_meet_their_clocks():
    assert all(built["clock_mhz_met"] >= built["clock_mhz_target"] for built in builds().values())


@pytest.mark.parametrize("target", ["run", "install"])
def test_make_says_what_to_type_next(target):
    """After `make run` and `make install`, the command is in a virtual environment that nobody has entered."""
    root = Path(__file__).parents[1]
    told = subprocess.run(["make", "--dry-run", "-C", root, target], capture_output=True, encoding="utf-8")
    assert told.returncode == 0 and "now: source .venv/bin/activate; then: marey --help" in told.stdout
