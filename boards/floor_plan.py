"""The floor plan of an ECP5-85F with 16 columns: the places of their multipliers and block RAMs.

On a full device nextpnr spreads the cells of a column all over it. The plan puts the columns side by side, in the order in
which a wave moves through them, with the VXM and MEM between the first and the last; logic, and all cells that it does not
name, go where nextpnr puts them. The rows of the device, from above::

    y 10  multipliers   column  4    5    6    7    8    9
    y 22  block RAMs
    y 34  multipliers           2    3   13   12   11   10
    y 46  block RAMs
    y 58  multipliers           1    0    VXM      14   15
    y 70  block RAMs
    y 82  block RAMs                      MEM

Sites are those of nextpnr's database for the LFE5U-85F: 13 groups of four of each kind in a row.
"""

import json
import re

from ..hdl.spec.config import Config
from ..hdl.spec.errors import MareyError

_STARTS = (*range(4, 59, 9), *range(69, 115, 9))
"""The x of each group of sites; clocks go through the middle of the device."""
SITES = {
    "MULT18X18D": [(x + z, y, f"MULT18_{z}") for y in (10, 34, 58) for x in _STARTS for z in (0, 1, 4, 5)],
    "DP16KD": [(x + 2 * z, y, f"EBR{z}") for y in (22, 46, 70, 82) for x in _STARTS for z in range(4)],
}
"""(x, y, name of the cell within its tile) of all sites, by the type of cell."""

_ABOVE, _MIDDLE, _BELOW = 16, 40, 64
_COLUMNS = (
    (30, _BELOW), (12, _BELOW), (13, _MIDDLE), (33, _MIDDLE), *((13 + 20 * number, _ABOVE) for number in range(6)),
    (113, _MIDDLE), (93, _MIDDLE), (73, _MIDDLE), (53, _MIDDLE), (90, _BELOW + 6), (110, _BELOW + 6))
_FIRST = (*range(4, 10), 2, 3, 13, 12, 11, 10, 0, 1, 14, 15)
CENTRES = {"vxm": (57, 66), "mem": (57, 78)} | {f"column{number}": _COLUMNS[number] for number in _FIRST}
"""The point around which the cells of each component lie, in the order in which components choose their sites."""
ROW_WEIGHT = {"MULT18X18D": 3, "DP16KD": 1}
"""How much a distance in y counts beside one in x: multipliers of a column are in one row."""

_COMPONENT = re.compile(r"\.tile\.(?:mxm\.array\.(column\d+)|(vxm|mem))\.")


def suits(device: str, config: Config) -> bool:
    """Whether the plan is for a tile on a device, whose name is the vendor's."""
    return device.startswith("LFE5U-85F") and config.cols == len(_COLUMNS)


def with_places(netlist: str) -> str:
    """A netlist for nextpnr, JSON of Yosys, whose multipliers and block RAMs of the components in `CENTRES` have places.

    Each component takes the nearest sites that are free. MareyError if there are too few.
    """
    design = json.loads(netlist)
    (top,) = (module for module in design["modules"].values() if int(module["attributes"].get("top", "0"), 2))
    cells: dict[tuple[str, str], list[str]] = {}
    for name in sorted(top["cells"], key=_by_number):
        kind, found = top["cells"][name]["type"], _COMPONENT.search(re.sub(r"\$\d+", "", name))
        if found and kind in SITES:
            cells.setdefault((found[1] or found[2], kind), []).append(name)
    free = {kind: list(sites) for kind, sites in SITES.items()}
    for component, centre in CENTRES.items():
        for kind, sites in free.items():
            names, weight = cells.get((component, kind), []), ROW_WEIGHT[kind]
            if len(names) > len(sites):
                raise MareyError(f"the floor plan has too few sites for the {kind} cells of {component}")
            sites.sort(key=lambda site: abs(site[0] - centre[0]) + weight * abs(site[1] - centre[1]))
            for name, (x, y, site) in zip(names, sorted(sites[:len(names)]), strict=True):
                top["cells"][name]["attributes"]["BEL"] = f"X{x}/Y{y}/{site}"
            del sites[:len(names)]
    return json.dumps(design)


def _by_number(name):
    """A name in pieces, so that 10 comes behind 9."""
    return [int(piece) if piece.isdigit() else piece for piece in re.split(r"(\d+)", name)]
