"""Each slice, and the whole tile, under Verilator, driven and watched cycle by cycle by cocotb."""

import pytest

from marey.hdl.link import Link
from marey.hdl.mem import Mem
from marey.hdl.mxm import Mxm
from marey.hdl.sequencer import Sequencer
from marey.hdl.serial import SerialLink
from marey.hdl.tile import Tile
from marey.hdl.vxm import Vxm
from tests.cocotb.runner import run
from tests.configs import BENCHED
from tests.dram import TIMINGS, EngineAndChip

SLICES = {"serial": lambda config: SerialLink(8e6, 1_000_000), "link": Link,
          "sequencer": Sequencer, "mem": Mem, "mxm": Mxm, "vxm": Vxm, "tile": Tile,
          "dram": lambda config: EngineAndChip(TIMINGS[config.sdram_rate])}
CASES = [("serial", 0), ("link", 0), ("sequencer", 0), ("mem", 0), ("mxm", 0), ("mxm", 2), ("mxm", 4),
         ("vxm", 0), ("vxm", 1), ("vxm", 2), ("tile", 2),
         ("link", 5), ("sequencer", 5), ("mxm", 5), ("vxm", 5), ("tile", 5), ("mxm", 7), ("vxm", 7), ("mem", 8),
         ("vxm", 9), ("vxm", 10), pytest.param("mem", 2, marks=pytest.mark.slow),
         *(pytest.param("dram", config, marks=pytest.mark.slow) for config in (11, 13))]
"""Slices, and the configurations that change them: square, two lanes of eight columns, int4, compact, keys of 4
bits, windows of MEM, GELU, external memory with one cycle and with two in one of the tile's."""


@pytest.mark.parametrize(("name", "config"), CASES, ids=lambda value: value if isinstance(value, str) else BENCHED[value].name)
def test_slice(compiler, tmp_path, name, config):
    run(SLICES[name](BENCHED[config]), f"bench_{name}", tmp_path, MAREY_CONFIG=config)
