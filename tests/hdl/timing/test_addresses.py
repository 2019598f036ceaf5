"""Addresses for every position and token: the rule against all positions and tokens, one by one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.hdl.spec.isa import Address, Source, To
from marey.hdl.timing import ProgramError, address_violations, check_addresses, violations
from tests.configs import CONFIGS, op

ODD = CONFIGS[2]
"""Depths that are no powers of two, so that addresses can miss."""


@given(source=st.sampled_from(Source), most=st.integers(0, 70), right=st.integers(0, 4), bits=st.integers(0, 4),
       times=st.integers(0, 9), value=st.integers(0, 60), at=st.integers(0, 50), inner=st.integers(1, 4),
       name=st.sampled_from(("x", "y", "dst", "keys")))
@settings(max_examples=60, deadline=None)
def test_the_ends_of_a_range_are_enough(source, most, right, bits, times, value, at, inner, name):
    """It is legal just if it is for each position, and each token; here addresses do not reach around their width."""
    operand, how = (name, {}) if name != "keys" else ("dst", {"to": To.KEYS})
    how |= {"x": {"x_step": 1}, "y": {"y_step": 1, "by_vector": 1}, "dst": {"to": To.MEM}, "keys": {}}[name]
    program = [op(ODD, "INDEX", register=1, source=source, right=right, bits=bits, times=times, value=value),
               op(ODD, "VXM", 80, inner=inner, **how, **{operand: Address(at, 1)}), op(ODD, "HALT")]
    token, position = (most, 0) if source is Source.TOKEN else (0, most)
    found = address_violations(ODD, program, position=position, token=token)
    alone = [violations(ODD, program, **{source.name.lower(): number}) for number in range(most + 1)]
    highest = max((number >> right) % (1 << bits) if bits else number >> right for number in range(most + 1))
    around = value + highest * times + at + inner > 127
    if not around:
        # What is wrong already at the highest number is found by the check of that one.
        assert bool(found or violations(ODD, program, position=position, token=token)) == any(alone)
    elif not found:
        assert not any(alone[:-1]) or violations(ODD, program, position=position, token=token)


def test_the_message_names_the_position():
    program = [op(ODD, "INDEX", register=1, source=Source.POSITION, right=1, bits=3, times=20, value=0),
               op(ODD, "VXM", 80, x=Address(0, 1)), op(ODD, "HALT")]
    assert violations(ODD, program, position=16) == []
    with pytest.raises(ProgramError, match="address x is 140 at position 14, and has 7 bits"):
        check_addresses(ODD, program, position=16, token=0)
