"""Demands: cycles as bits, and the least delay of a use."""

from hypothesis import given
from hypothesis import strategies as st

from marey.sw.compiler.demand import bits_of, delay

CYCLES = st.sets(st.integers(0, 40), min_size=1)


def bits(cycles):
    return sum(1 << cycle for cycle in cycles)


@given(busy=CYCLES, wanted=CYCLES)
def test_a_delay_is_the_least_with_which_no_cycle_is_busy(busy, wanted):
    free = next(by for by in range(42) if not busy & {cycle + by for cycle in wanted})
    assert delay(bits(busy), bits(wanted)) == free


@given(first=st.integers(0, 70), count=st.integers(1, 70))
def test_cycles_side_by_side(first, count):
    assert bits_of(first, count) == bits(range(first, first + count))
