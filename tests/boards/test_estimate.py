"""The estimate of a tile's cells against the builds that it is made from."""

from dataclasses import replace

import pytest

from marey.boards.estimate import PARTS, estimate
from marey.boards.records import builds
from marey.hdl.spec.config import preset

ECP5 = {name: build for name, build in builds().items() if build["device"].startswith("LFE5U")}
BRAM_ERROR = 0.04
"""Largest deviation of the block RAMs: other small memories of the tile are a constant of 2."""


@pytest.mark.parametrize("name", ECP5)
def test_it_is_near_every_build(name):
    build = ECP5[name]
    found, built = estimate(preset(build["config"])), build["resources"]
    assert found.dsp == built["dsp"]
    assert found.lut == pytest.approx(built["lut"], rel=found.lut_error + 1e-4) and found.lut_error < 0.06
    assert found.bram == pytest.approx(built["bram"], rel=BRAM_ERROR)
    # The smallest part with room is at most the one that the board has.
    assert [*PARTS].index(found.part) <= [*PARTS].index(build["device"].split("-BG")[0].split("-MG")[0])
    assert found.clock_mhz <= build["clock_mhz_met"]


def test_what_has_no_room_and_no_build():
    assert estimate(preset("up5k_4x4")) is None
    assert estimate(preset("lpu16x16")).part is None
    deeper = replace(preset("ecp5_8x8"), wram_depth=4096)
    assert estimate(deeper).bram - estimate(preset("ecp5_8x8")).bram == 64
    # What external memory takes is the same for any tile.
    with_memory = preset("ecp5_8x8_int4_sdram")
    taken = estimate(with_memory).lut - estimate(replace(with_memory, sdram=0, sdram_mhz=100, sdram_rate=1)).lut
    assert estimate(replace(deeper, sdram=1)).lut - estimate(deeper).lut == pytest.approx(taken, abs=1) and taken > 447
