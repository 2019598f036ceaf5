"""A lane of the VXM on the RTL: every function that its tile has, against `marey.hdl.spec.integer`."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.hdl.spec import integer
from marey.hdl.spec.isa import Function, functions
from marey.hdl.vxm.lane import Lane
from tests.configs import CONFIGS, GATED

WORD = st.integers(-32768, 32767)


def expected(function, a, b):
    """What the function makes of a and b, with the shift that it is meant for."""
    match function:
        case Function.MULTIPLY:
            return integer.saturate(integer.round_shift(a * b, 15), 16)
        case Function.EXP2:
            return integer.exp2_negative(b - a)
        case Function.SILU:
            return integer.silu(a)
        case Function.GELU:
            return integer.gelu(a)


@pytest.mark.parametrize("config", [CONFIGS[0], CONFIGS[5], *GATED], ids=lambda config: config.name)
@settings(max_examples=5, deadline=None)
@given(values=st.lists(st.tuples(WORD, WORD), min_size=1, max_size=200))
def test_functions(config, values):
    """A value a cycle, each `Lane.latency` cycles after its operands."""
    dut = Lane(config)
    edges = [-32768, -32767, -4097, -4096, -17, -16, -1, 0, 1, 15, 16, 4095, 4096, 32767]
    values = values + [(edge, 32767) for edge in edges]
    work = [(function, a, max(a, b) if function is Function.EXP2 else b) for function in functions(config) for a, b in values]
    found = []

    async def testbench(ctx):
        ctx.set(dut.keep, 1)
        for function, a, b in work + work[-1:] * (Lane.latency(config) - 1):
            ctx.set(dut.function, function)
            ctx.set(dut.a, a)
            ctx.set(dut.b, b)
            ctx.set(dut.shift, 14 if function is Function.EXP2 else 15)
            await ctx.tick()
            found.append(ctx.get(dut.y))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    found = found[Lane.latency(config) - 1:]
    assert found == [int(expected(function, np.array(a), np.array(b))) for function, a, b in work]
