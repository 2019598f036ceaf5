"""The floor plan: every cell that it names has a site of its own, near the others of its component."""

import json
import re
from collections import Counter, defaultdict

import pytest

from marey.boards.all import BOARDS
from marey.boards.floor_plan import CENTRES, SITES, suits, with_places
from marey.hdl.spec.config import preset
from marey.hdl.spec.errors import MareyError

DEVICE = {"MULT18X18D": 156, "DP16KD": 208}
"""Cells of an LFE5U-85F: ECP5 Family Data Sheet, FPGA-DS-02012."""


def netlist(multipliers=8):
    """The cells of the tile `ecp5_8x16`, as Yosys names them, with two that the plan does not place, and another module."""
    config, cells = preset("ecp5_8x16"), {}

    def add(component, kind, count):
        for number in range(count):
            cells[f"inside.tile.{component}.part{number}"] = {"type": kind, "attributes": {"src": "here"}}

    for column in range(config.cols):
        add(f"mxm$115.array.column{column}.dot", "MULT18X18D", multipliers)
        add(f"mxm$115.array.column{column}.wram.bank0$7.ram", "DP16KD", 10)
        add(f"mxm$115.array.column{column}.sum", "LUT4", 1)
    for lane in range(config.lanes):
        add(f"vxm$116.lane{lane}.product", "MULT18X18D", 2)
        add(f"vxm$116.lane{lane}.table", "DP16KD", 2)
    add("mem.x$59.ram", "DP16KD", 18)
    add("program.part0", "DP16KD", 1)
    top = {"attributes": {"top": "00000000000000000000000000000001"}, "cells": cells}
    return json.dumps({"modules": {"marey": top, "other": {"attributes": {}, "cells": {}}}})


def test_cells_have_sites_of_their_own():
    before, after = json.loads(netlist()), json.loads(with_places(netlist()))
    placed, taken = defaultdict(list), Counter()
    for name, cell in after["modules"]["marey"]["cells"].items():
        bel = cell["attributes"].pop("BEL", None)
        assert (bel is None) == (cell["type"] == "LUT4" or "program" in name), name
        if bel:
            x, y, site = re.fullmatch(r"X(\d+)/Y(\d+)/(\w+)", bel).groups()
            assert (int(x), int(y), site) in SITES[cell["type"]]
            placed[re.search(r"column\d+|vxm|mem", name)[0], cell["type"]].append((int(x), int(y)))
            taken[bel] += 1
    assert after == before and set(taken.values()) == {1}
    assert {component for component, _ in placed} == set(CENTRES)
    for (component, kind), sites in placed.items():
        across, down = ([site[axis] for site in sites] for axis in range(2))
        assert max(across) - min(across) <= (24 if component.startswith("column") else 42), component
        assert max(down) - min(down) <= (0 if kind == "MULT18X18D" else 24), component


def test_it_suits_the_boards_with_16_columns():
    assert {name for name, board in BOARDS.items() if suits(board.device, board.tile)} == {"ulx3s-85f", "orangecrab-85f"}


def test_sites_are_those_of_the_device():
    assert {kind: len(set(sites)) for kind, sites in SITES.items()} == DEVICE


def test_a_design_without_room_is_refused():
    with pytest.raises(MareyError, match="too few sites for the MULT18X18D cells of column"):
        with_places(netlist(multipliers=9))
