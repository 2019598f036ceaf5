"""External memory as data: the chips, and the rules of their command bus, each broken by itself."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.hdl.spec.config import preset
from marey.hdl.spec.dram_parts import PARTS, PartError, part
from marey.hdl.spec.dram_rules import COMMAND_BUS, RULES, Action, Checker
from tests.dram import TIMING, draw_legal
from tests.dram_programs import BREAKS


def test_the_boards_have_them():
    assert part("IS42S16160G-7").bytes == part("AS4C16M16SA-7").bytes == 32 << 20
    assert part("M12L64322A-6").bytes == 8 << 20
    with pytest.raises(PartError, match="no external memory 'DDR9': there are IS42S16160G-7, "):
        part("DDR9")


def test_one_bitstream_serves_each_ulx3s():
    """At the clock of its boards, the two chips take the same cycles for everything; a row may be open longer in the second."""
    clock_mhz = preset("ecp5_8x8_int4_sdram").sdram_mhz
    first, second = (part(name).at(clock_mhz) for name in ("IS42S16160G-7", "AS4C16M16SA-7"))
    assert replace(second, part=first.part, ras_most=first.ras_most) == first and second.ras_most > first.ras_most


@pytest.mark.parametrize("chip", PARTS.values(), ids=lambda chip: chip.name)
def test_times_are_rounded_to_the_safe_side(chip):
    for clock_mhz in (25, 66.7, 100, 133, 143):
        timing, cycle_ns = chip.at(clock_mhz), 1000 / clock_mhz
        for name in ("rcd", "rp", "ras", "rc", "rfc", "wr", "rrd"):
            cycles, least_ns = getattr(timing, name), getattr(chip, f"{name}_ns")
            assert cycles * cycle_ns >= least_ns - 1e-3 and (cycles - 1) * cycle_ns < least_ns, name
        assert timing.retention * cycle_ns <= chip.retention_ns and timing.ras_most * cycle_ns <= chip.ras_most_ns
        assert timing.interval * chip.refreshes <= timing.retention
        assert chip.rows % chip.refreshes == 0 or chip.refreshes % chip.rows == 0


def test_no_part_runs_with_any_clock():
    with pytest.raises(PartError, match="IS42S16160G-7 runs with up to 143 MHz, not 200"):
        part("IS42S16160G-7").at(200)


@pytest.mark.parametrize("rule", BREAKS)
def test_each_rule_has_a_program_that_breaks_just_it(rule):
    program = BREAKS[rule]
    broken = Checker(TIMING).check(program)
    assert [name for _, name in broken] == [rule] and broken[0][0] == program[-1]
    assert set(BREAKS) == {*RULES, COMMAND_BUS}


@pytest.mark.parametrize("rule", sorted(set(BREAKS) - {COMMAND_BUS, "row closed", "row open"}))
def test_a_cycle_less_or_more_breaks_none(rule):
    """The programs are at the limit: a cycle later, or earlier where a time is the most, all is well."""
    *before, last = BREAKS[rule]
    kind = -1 if rule in ("open too long", "retention") else 1
    moved = Action(last.cycle + kind, last.command, last.bank, last.address)
    assert Checker(TIMING).check([*before, moved]) == []


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_drawn_sequences_are_legal(seed):
    """They are made with `Checker.earliest`, in one checker, and held to the rules in another."""
    actions = draw_legal(Checker(TIMING), random.Random(seed), 30, 0)
    assert Checker(TIMING).check(actions) == []
