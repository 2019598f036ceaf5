"""Counts the cells that each component of a design uses, by a synthesis that keeps the components
apart.

Nothing is shared across components then, and LUTs are counted before they are packed, so the sum
differs from what nextpnr counts in the bitstream.
"""

import json
import re
from pathlib import Path

from .board import Board
from .flow import NAME, script
from .tools import run

_RESOURCES = ("lut", "ff", "bram", "dsp", "spram")

_CELLS = (
    (re.compile(r"SB_LUT4|LUT4"), "lut", 1), (re.compile(r"CCU2C"), "lut", 2), (re.compile(r"TRELLIS_DPR16X4"), "lut", 4),
    (re.compile(r"SB_DFF\w*|TRELLIS_FF"), "ff", 1), (re.compile(r"SB_RAM40_4K|DP16KD"), "bram", 1),
    (re.compile(r"SB_MAC16|MULT18X18D"), "dsp", 1), (re.compile(r"SB_SPRAM256KA"), "spram", 1),
)
"""(name of a cell, resource that it counts as, how many of it)."""


def slices(board: Board, folder: Path, depth: int = 4) -> dict[str, dict[str, int]]:
    """The cells that each component uses, those inside it included: {component: {"lut", "ff",
    "bram", "dsp", "spram"}}.

    `folder` contains the design that `marey.boards.flow.design` wrote; `depth` is the number of
    levels of the hierarchy that are listed. Components have the names that they have in the
    critical path. ToolError if Yosys fails.
    """
    run(folder, "yosys", "-q", "-p", f"{script(board, flatten=False)}; tee -q -o slices.json stat -json")
    modules = json.loads(Path(folder, "slices.json").read_text())["modules"]
    cells = {name.removeprefix("\\"): {kind.removeprefix("\\"): count for kind, count in module["num_cells_by_type"].items()}
             for name, module in modules.items()}
    return {re.sub(r"\$\d+", "", name.removeprefix(f"{NAME}.")): _used(cells, name) for name in cells
            if name.startswith(NAME) and name.count(".") < depth}


def _used(cells, name):
    """The cells of a module {resource: count}, those of the modules inside it included."""
    total = dict.fromkeys(_RESOURCES, 0)
    for kind, count in cells[name].items():
        if kind in cells:
            for resource, inner in _used(cells, kind).items():
                total[resource] += count * inner
        for pattern, resource, each in _CELLS:
            if pattern.fullmatch(kind):
                total[resource] += count * each
    return total
