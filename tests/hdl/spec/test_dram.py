"""External memory as data: the chips, and the rules of their command bus, each broken by itself."""

import random
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.hdl.spec.config import preset
from marey.hdl.spec.dram_parts import PARTS, PartError, part
from marey.hdl.spec.dram_rules import COMMAND_BUS, RULES, Action, Checker
from tests.dram import TIMINGS, draw_legal
from tests.dram_programs import BREAKS, breaks


def test_the_boards_have_them():
    assert part("IS42S16160G-7").bytes == part("AS4C16M16SA-7").bytes == 32 << 20
    assert part("M12L64322A-6").bytes == 8 << 20
    with pytest.raises(PartError, match="no external memory 'DDR9': there are IS42S16160G-7, "):
        part("DDR9")


def test_one_bitstream_serves_each_ulx3s():
    """At the clock of its boards, the second chip needs no more cycles for anything than the first, for which the tile is
    built, and has the same latency."""
    config = preset("ecp5_8x8_int4_sdram")
    first, second = (part(name).at(config.sdram_mhz, config.sdram_rate) for name in ("IS42S16160G-7", "AS4C16M16SA-7"))
    longest = {name: getattr(first, name) for name in ("rcd", "rp", "ras", "rc", "rfc", "wr", "rrd", "mrd", "power_up")}
    assert all(getattr(second, name) <= cycles for name, cycles in longest.items()) and second.ras_most >= first.ras_most
    assert (second.chip_cas, second.retention, second.part.bytes) == (first.chip_cas, first.retention, first.part.bytes)


def test_a_chip_with_two_cycles_in_one_of_the_tiles():
    """Whole cycles of the tile last as long as whole ones of the chip, counted from where the tile's commands and words are."""
    for chip, clock_mhz in product(PARTS.values(), (25, 50, 66.7, 70, 71.5)):
        timing = chip.at(clock_mhz, 2)
        alone = timing.chip
        assert alone.part == chip and alone.clock_mhz == 2 * clock_mhz and alone.chip_cas == alone.cas == 3
        assert timing.part.bytes == chip.bytes and timing.part.burst_bytes == 2 * chip.burst_bytes
        for name in ("rcd", "rp", "ras", "rc", "rfc", "rrd", "mrd"):
            assert 2 * getattr(timing, name) - getattr(alone, name) in (0, 1), name
        # A WRITE's last word is in the second half of a cycle, and a READ's first in the second half of the one before.
        assert 2 * timing.wr - 1 - alone.wr in (0, 1) and 2 * timing.cas - 1 == alone.cas
    with pytest.raises(PartError, match="IS42S16160G-7 runs with up to 143 MHz, not 160"):
        part("IS42S16160G-7").at(80, 2)


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


@pytest.mark.parametrize("timing", TIMINGS.values(), ids=TIMINGS)
@pytest.mark.parametrize("rule", BREAKS)
def test_each_rule_has_a_program_that_breaks_just_it(rule, timing):
    program = breaks(timing)[rule]
    broken = Checker(timing).check(program)
    assert [name for _, name in broken] == [rule] and broken[0][0] == program[-1]
    assert set(BREAKS) == {*RULES, COMMAND_BUS}


@pytest.mark.parametrize("timing", TIMINGS.values(), ids=TIMINGS)
@pytest.mark.parametrize("rule", sorted(set(BREAKS) - {COMMAND_BUS, "row closed", "row open"}))
def test_a_cycle_less_or_more_breaks_none(rule, timing):
    """The programs are at the limit: a cycle later, or earlier where a time is the most, all is well."""
    *before, last = breaks(timing)[rule]
    kind = -1 if rule in ("open too long", "retention") else 1
    moved = Action(last.cycle + kind, last.command, last.bank, last.address)
    assert Checker(timing).check([*before, moved]) == []


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 32), timing=st.sampled_from(list(TIMINGS.values())))
def test_drawn_sequences_are_legal(seed, timing):
    """They are made with `Checker.earliest`, in one checker, and held to the rules in another."""
    actions = draw_legal(Checker(timing), random.Random(seed), 30, 0)
    assert Checker(timing).check(actions) == []
