"""The whole tile on an iCE40 UP5K, with the default model resident: its cells, its speed, its
bitstream, and the image of its flash."""

import pytest

from marey.boards import flow, tools
from marey.boards.all import BOARDS
from marey.boards.build import build
from marey.sw.cli.compiling import compile_file
from marey.sw.formats import DEFAULT_MODEL

DEVICE = {"lc": 5280, "bram": 30, "dsp": 8, "spram": 4}
TOKENS_PER_SECOND = 1000
BOARD = BOARDS["icebreaker"]


@pytest.fixture(scope="module")
def program():
    return compile_file(DEFAULT_MODEL, None, BOARD.tile)


def test_the_default_model_fits_and_is_fast_enough(tmp_path, program):
    """The packed design has room in the device; the speed is that at the board's clock.

    The speed is the mean over all positions of the context, in cycles that the RTL counts too
    (`test_default_model.py`). Whether the clock is met, place and route tells: the test below.
    """
    tools.find("yosys")
    program.check_burnable(BOARD.tile)
    flow.design(BOARD, tmp_path)
    flow.synthesise(BOARD, tmp_path)
    taken = flow.packed(BOARD, tmp_path)
    assert all(taken[kind] <= most for kind, most in DEVICE.items()), taken
    cycles = [program.cycles(position) for position in range(program.model.context)]
    assert program.model.context >= 128
    assert len(cycles) / sum(cycles) * BOARD.clock_hz >= TOKENS_PER_SECOND


@pytest.mark.slow
def test_the_default_model_on_the_whole_tile(tmp_path, program):
    """`marey build --board icebreaker --model MODEL`: the design meets its clock.

    The device is nearly full, so place and route takes a quarter of an hour.
    """
    tools.find("yosys")
    result = build(BOARD, tmp_path, program)
    assert all(result["resources"][kind] <= most for kind, most in DEVICE.items()), result["resources"]
    assert result["clock_mhz_met"] >= result["clock_mhz_target"] >= 24
    assert result["tokens_per_second"] >= TOKENS_PER_SECOND
