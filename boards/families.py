"""The two FPGA families, and what nextpnr reports of a design that it placed and routed."""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

from .board import Board


@dataclass(frozen=True)
class Family:
    """An FPGA family: `nextpnr`, the program that places and routes; `cells`, {resource: nextpnr's
    name of its cells}."""

    nextpnr: str
    cells: dict[str, str]


ICE40 = Family("nextpnr-ice40", {"lc": "ICESTORM_LC", "bram": "ICESTORM_RAM", "dsp": "ICESTORM_DSP", "spram": "ICESTORM_SPRAM"})
ECP5 = Family("nextpnr-ecp5", {"lut": "TRELLIS_COMB", "ff": "TRELLIS_FF", "bram": "DP16KD", "dsp": "MULT18X18D"})


def family(board: Board) -> Family:
    """The family of a board's FPGA."""
    return ECP5 if board.is_ecp5 else ICE40


def report(kind: Family, folder: Path) -> dict:
    """The results in the report.json that nextpnr wrote to a folder.

    Returns {"clock_mhz_met", "resources": {resource: count}, "critical_path": [name]}. The clock is
    that of the slowest clock domain, rounded down to 0.1 MHz. The critical path has the names of
    the signals on the slowest path from register to register, with the components that they are in.
    """
    found = json.loads(Path(folder, "report.json").read_text())
    clocks = [entry["achieved"] for entry in found["fmax"].values()]
    return {"clock_mhz_met": math.floor(10 * min(clocks)) / 10, "resources": _used(kind, found),
            "critical_path": _critical_path(found)}


def resources(kind: Family, folder: Path) -> dict[str, int]:
    """The cells that a design takes, by resource, from the report.json that nextpnr wrote to a
    folder when it packed the design."""
    return _used(kind, json.loads(Path(folder, "report.json").read_text()))


def _used(kind, found):
    """The cells that nextpnr's report names, by resource."""
    used = found["utilization"]
    return {name: used.get(cell, {"used": 0})["used"] for name, cell in kind.cells.items()}


_ADDED = re.compile(r"\[\d+\]|_(LUT4|SB_LUT4|CCU2C|SB_CARRY|TRELLIS_FF|SB_DFF\w*|PFUMX|L6MUX21)_.*|\$.*")
"""What synthesis adds to the name of a signal."""


def _critical_path(found):
    """Names of the signals on the slowest path within a clock domain, in order, each once."""
    inside = [path for path in found["critical_paths"] if path["from"] == path["to"]]
    if not inside:
        return []
    slowest = max(inside, key=lambda path: sum(step["delay"] for step in path["path"]))
    names = []
    for step in slowest["path"]:
        name = _ADDED.sub("", step.get("net") or "")
        if name and (not names or names[-1] != name):
            names.append(name)
    return names
