"""What each component of a design takes: a synthesis that keeps the components apart.

Nothing is shared or simplified across components then, so the sum is somewhat more than what the bitstream takes.
"""

import json
import re
from pathlib import Path

from .board import Board
from .flow import NAME, script
from .tools import run

_CELLS = (
    (re.compile(r"SB_LUT4|LUT4"), "lut", 1), (re.compile(r"CCU2C"), "lut", 2), (re.compile(r"TRELLIS_DPR16X4"), "lut", 4),
    (re.compile(r"SB_DFF\w*|TRELLIS_FF"), "ff", 1), (re.compile(r"SB_RAM40_4K|DP16KD"), "bram", 1),
    (re.compile(r"SB_MAC16|MULT18X18D"), "dsp", 1), (re.compile(r"SB_SPRAM256KA"), "spram", 1),
)


def slices(board: Board, folder: Path, depth: int = 4) -> dict[str, dict[str, int]]:
    """{component: {"lut", "ff", "bram", "dsp", "spram"}} with all that is inside it, down to `depth` levels of the hierarchy.

    `folder` has the design (`marey.boards.flow.design`). A component is called as the critical path calls it.
    """
    run(folder, "yosys", "-q", "-p", f"{script(board, flatten=False)}; tee -q -o slices.json stat -json")
    modules = json.loads(Path(folder, "slices.json").read_text())["modules"]
    cells = {name.removeprefix("\\"): {kind.removeprefix("\\"): count for kind, count in module["num_cells_by_type"].items()}
             for name, module in modules.items()}
    return {re.sub(r"\$\d+", "", name.removeprefix(f"{NAME}.")): _taken(cells, name) for name in cells
            if name.startswith(NAME) and name.count(".") < depth}


def _taken(cells, name):
    """Of a module and all in it: modules are counted by what they have inside."""
    total = dict.fromkeys(("lut", "ff", "bram", "dsp", "spram"), 0)
    for kind, count in cells[name].items():
        if kind in cells:
            for resource, inner in _taken(cells, kind).items():
                total[resource] += count * inner
        for pattern, resource, worth in _CELLS:
            if pattern.fullmatch(kind):
                total[resource] += count * worth
    return total
