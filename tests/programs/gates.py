"""Drawn programs on the netlist of a small tile of each FPGA family, and on the emulator.

    python -m tests.programs.gates [--fpga NAME] [--programs N] [--seed S]

The netlists are kept in `build/gates/`; the first call takes minutes. Exit status 1 if there was a
failure.
"""

import argparse
import random
import sys
from dataclasses import replace
from pathlib import Path
from time import monotonic

from marey.boards.gates import open_gates
from marey.hdl.spec.config import Config, preset
from tests.machines import PATIENCE, Machines

from .campaign import simulate_on
from .found import Found

FOLDER = Path("build/gates")
_SMALL = {"mem_depth": 64, "program_depth": 64, "scalars": 32, "link_timeout": 64, "crc_bits": 8} | dict.fromkeys(
    ("act_first", "act_depth", "x_depth", "y_depth"), 0)
TILES: dict[str, Config] = {
    "ice40up": replace(preset("up5k_4x4"), **_SMALL, wram_depth=64),
    "ice40hx": replace(preset("hx8k_2x2"), **_SMALL, wram_depth=64),
    "ecp5": replace(preset("ecp5_4x4"), **_SMALL | {"mem_depth": 256}, wram_depth=512)}
"""By FPGA: a preset with small memories. Those of the ECP5 are large enough for block RAMs."""


def campaign(fpga: str, programs: int, seed: int, folder: Path = FOLDER) -> Found:
    """Draws so many programs for the tile of an FPGA, and compares emulator and netlist on the legal ones."""
    def open_machines(config):
        return Machines(config, open_gates(config, fpga, folder / fpga, PATIENCE))

    return simulate_on(TILES[fpga], random.Random(f"{seed} {fpga}"), programs, open_machines)


def main(arguments: list[str] | None = None) -> int:
    """Exit status 1 if there was a failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.programs.gates", description=__doc__.splitlines()[0])
    parser.add_argument("--fpga", action="append", choices=TILES, help="may be given again; all if it is not given")
    parser.add_argument("--programs", type=int, default=1000, help="drawn for each FPGA, legal or not")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    found = {}
    for fpga in options.fpga or TILES:
        begun = monotonic()
        found[fpga] = campaign(fpga, options.programs, options.seed)
        print(f"{fpga}: {found[fpga].programs} programs, {found[fpga].legal} legal, {found[fpga].runs} runs compared, "
              f"{len(found[fpga].failures)} failures, {monotonic() - begun:.0f} s", flush=True)
        print("\n".join(found[fpga].failures), end="")
    return int(any(each.failures for each in found.values()))


if __name__ == "__main__":
    sys.exit(main())
