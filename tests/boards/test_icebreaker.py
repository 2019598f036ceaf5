"""The whole tile on an iCE40 UP5K, with the default model resident: its bitstream, and the image of
its flash."""

from marey.boards import tools
from marey.boards.all import BOARDS
from marey.boards.build import build
from marey.sw.cli.compiling import compile_file
from marey.sw.formats import DEFAULT_MODEL

DEVICE = {"lc": 5280, "bram": 30, "dsp": 8, "spram": 4}
TOKENS_PER_SECOND = 1000


def test_the_default_model_on_the_whole_tile(tmp_path):
    """`marey build --board icebreaker --model MODEL`: the design fits, meets its clock, and is fast
    enough.

    Its speed is the mean over all positions of the context, in cycles that the RTL counts too
    (`test_default_model.py`).
    """
    tools.find("yosys")
    board = BOARDS["icebreaker"]
    program = compile_file(DEFAULT_MODEL, None, board.tile)
    result = build(board, tmp_path, program)
    assert all(result["resources"][kind] <= most for kind, most in DEVICE.items()), result["resources"]
    assert result["clock_mhz_met"] >= result["clock_mhz_target"] >= 24
    cycles = [program.cycles(position) for position in range(program.model.context)]
    assert program.model.context >= 128
    assert len(cycles) / sum(cycles) * result["clock_mhz_target"] * 1e6 >= TOKENS_PER_SECOND
    assert result["tokens_per_second"] >= TOKENS_PER_SECOND
