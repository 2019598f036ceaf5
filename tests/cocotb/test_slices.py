"""Each slice, and the whole tile, under Verilator, driven and watched cycle by cycle by cocotb."""

from dataclasses import replace

import pytest
from cocotb_tools import config as cocotb

from marey.hdl.link import Link
from marey.hdl.mem import Mem
from marey.hdl.mxm import Mxm
from marey.hdl.sequencer import Sequencer
from marey.hdl.serial import SerialLink
from marey.hdl.tile import Tile
from marey.hdl.vxm import Vxm
from marey.sim.toolchain import tools
from tests.cocotb import runner
from tests.cocotb.runner import run
from tests.configs import CONFIGS, GATED, WINDOWED

SLICES = {"serial": lambda config: SerialLink(8e6, 1_000_000), "link": Link,
          "sequencer": Sequencer, "mem": Mem, "mxm": Mxm, "vxm": Vxm, "tile": Tile}
CASES = [("link", 0), ("sequencer", 0), ("mem", 0), ("mem", 2), ("mxm", 0), ("mxm", 2), ("mxm", 4),
         ("vxm", 0), ("vxm", 1), ("vxm", 2), ("tile", 2),
         ("sequencer", 5), ("mxm", 5), ("vxm", 5), ("tile", 5), ("mem", 7),
         ("vxm", 8), ("vxm", 9)]
"""Slices, and the configurations that change them: square, two lanes of eight columns, int4, compact, windows
of MEM, GELU."""
BENCHED = (*CONFIGS, WINDOWED, *GATED)


@pytest.mark.parametrize(("name", "config"), CASES, ids=lambda value: value if isinstance(value, str) else BENCHED[value].name)
def test_slice(compiler, tmp_path, monkeypatch, name, config):
    run(SLICES[name](BENCHED[config]), f"bench_{name}", tmp_path, monkeypatch, MAREY_CONFIG=config)


def test_in_a_path_with_a_space(compiler, tmp_path, monkeypatch):
    """Where Verilator and cocotb are installed, as in the virtual environment of a checkout in such a path."""
    there, kit = tmp_path / "Ein Ölfaß", tools()
    there.mkdir()
    (tmp_path / "bench").mkdir()
    for name, target in (("root", kit.root), ("libs_dir", cocotb.libs_dir), ("share_dir", cocotb.share_dir)):
        (there / name).symlink_to(target, target_is_directory=True)
    for name in ("libs_dir", "share_dir"):
        monkeypatch.setattr(cocotb, name, there / name)
    command = [word.replace(str(kit.root), str(there / "root")) for word in kit.verilator]
    monkeypatch.setattr(runner, "tools", lambda: replace(kit, root=there / "root", verilator=command))
    run(SLICES["serial"](BENCHED[0]), "bench_serial", tmp_path / "bench", monkeypatch, MAREY_CONFIG=0)
