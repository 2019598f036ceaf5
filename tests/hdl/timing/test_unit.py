"""The units: names that traces and JSON keep, and facts that fit together."""

import json

import pytest

from marey.hdl.tile import PROBE
from marey.hdl.timing import PROBED, ROWS, Kind, Memory, Unit, trace, uses
from tests.configs import CONFIGS, MEMORY
from tests.hdl.test_version import samples

NAMES = ["issue", "mem.act", "engine.mxm", "mxm", "wram", "wram.late", "drain", "stream", "engine0", "engine1", "vxm", "mem.x",
         "mem.y", "scalar.vxm", "mem.write", "wram.keys", "wram.values", "scalar.reduced", "engine.sfu", "sfu", "scalar.sfu",
         "scalar.computed", "chosen.write", "chosen"]
"""Rows of the timetable. They are keys of JSON, which are not renamed."""


def test_rows_keep_their_names_and_their_order():
    assert [str(unit) for unit in ROWS] == NAMES and json.loads(json.dumps(ROWS)) == NAMES


def test_a_unit_is_found_by_its_name():
    """Views write names, and read them back."""
    assert all({unit: 1}[unit.value] == 1 and Unit(unit.value) is unit for unit in Unit)
    assert len({unit.label for unit in ROWS}) == len(ROWS)


def test_partners_and_rivals_are_mutual():
    for unit in Unit:
        assert unit.partner is None or (unit.partner.partner is unit and unit.facts.alone)
        assert unit.rival is None or (unit.rival.rival is unit and (unit.facts.clash or unit.rival.facts.clash))


def test_the_probe_shows_the_probed_units():
    assert list(PROBE.members) == ["running", *PROBED]


@pytest.mark.parametrize("config", [*CONFIGS, MEMORY[0]], ids=lambda config: config.name)
def test_uses_have_addresses_just_where_units_access_memories(config):
    seen = set()
    for issue in trace(config, list(samples(config))):
        for use in uses(config, issue):
            seen.add(use.unit)
            assert (use.addresses is None) == (use.unit.access is None)
            if use.unit.access:
                assert use.addresses.shape == use.cycles.shape
    missing = {unit for unit in Unit if unit.facts.kind is not Kind.SHARED and (unit.facts.drawn or config.memory)} - seen
    assert missing <= {Unit.ISSUE, Unit.VXM_ENGINE_1}
    assert {unit.access.memory for unit in seen if unit.access} == set(Memory) - (set() if config.memory else {Memory.SDRAM})
