"""An array of twice the size is never slower: cycles of a token on square tiles, derived."""

from dataclasses import replace
from itertools import pairwise

import pytest

from marey.boards.performance import DEEP
from marey.hdl.spec.config import preset
from marey.sw.compiler.compile import schedule
from marey.sw.compiler.integers import integers_for
from marey.sw.compiler.plan import lay_out_model
from marey.sw.formats import DEFAULT_MODEL, load_model
from marey.sw.quant.outline import outline_of_shape

POSITIONS = 256
"""Positions that are compared, from 0 on, or all of a shorter context."""


def of_size(config, size, room):
    """A configuration with a square array of another size, as many lanes for each column and values in MEM, and W-RAM for
    `room` times the weights: a larger array leaves words partly empty."""
    of = {"rows": size, "cols": size, "lanes": config.lanes * size // config.cols,
          "wram_depth": room * config.wram_depth * config.macs // size ** 2,
          "mem_depth": config.mem_depth * config.rows // size}
    return replace(config, name=f"{size}x{size}", **of)


@pytest.mark.parametrize("name, tile, sizes, room", [
    ("shipped", "sim8x8", (4, 8, 16, 32), 4), ("shipped", "sim8x8_int4", (4, 8, 16, 32), 4),
    ("stories260K", "sim8x8", (8, 16, 32), 4), ("stories260K", "sim8x8_int4", (8, 16, 32), 4),
    ("SmolLM2-135M", "lpu16x16", (8, 16, 32), 1)])
def test_an_array_of_twice_the_size_is_not_slower(name, tile, sizes, room, request):
    if name == "SmolLM2-135M":
        shape = replace(DEEP, seq_len=1024)
    else:
        shape = load_model(DEFAULT_MODEL if name == "shipped" else request.getfixturevalue("stories")).config
    cycles = {}
    for size in sizes:
        config = of_size(preset(tile), size, room)
        outline = outline_of_shape(shape, **integers_for(config, shape))
        program = schedule(lay_out_model(config, outline), outline)
        cycles[size] = [program.cycles(position) for position in range(min(POSITIONS, shape.seq_len))]
        middle = len(cycles[size]) // 2
        print(f"{name} on {tile}, {size}x{size}: {cycles[size][0]:,} cycles at 0, {cycles[size][middle]:,} at {middle}")
    for small, large in pairwise(sizes):
        assert all(more <= less for less, more in zip(cycles[small], cycles[large], strict=True)), (small, large)
