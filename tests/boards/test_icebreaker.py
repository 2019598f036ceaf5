"""The whole tile on an iCE40 UP5K, with the default model resident: its bitstream, and the image of its flash."""

import pytest

from marey.boards import tools
from marey.boards.all import BOARDS
from marey.boards.build import build
from marey.sw.cli.base import compile_file
from marey.sw.formats import DEFAULT_MODEL

DEVICE = {"lc": 5280, "bram": 30, "dsp": 8, "spram": 4}
TOKENS_PER_SECOND = 1000

pytestmark = pytest.mark.xdist_group("icebreaker")  # one build for all


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """What `marey build --board icebreaker --model MODEL` finds, and the program."""
    tools.find("yosys")
    board = BOARDS["icebreaker"]
    program = compile_file(DEFAULT_MODEL, None, board.tile)
    return build(board, tmp_path_factory.mktemp("icebreaker"), program), program


def test_it_fits_and_meets_its_clock(built):
    result, _ = built
    assert all(result["resources"][kind] <= most for kind, most in DEVICE.items()), result["resources"]
    assert result["clock_mhz_met"] >= result["clock_mhz_target"] >= 24


def test_a_thousand_tokens_a_second(built):
    """Over all positions of its context: cycles, which the RTL counts too (`test_default_model.py`), at the board's clock."""
    result, program = built
    cycles = [program.cycles(position) for position in range(program.model.context)]
    assert program.model.context >= 128
    assert len(cycles) / sum(cycles) * result["clock_mhz_target"] * 1e6 >= TOKENS_PER_SECOND
    assert result["tokens_per_second"] >= TOKENS_PER_SECOND
