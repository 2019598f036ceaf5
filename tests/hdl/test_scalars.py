"""The scalar unit: every function of it is that of `marey.hdl.integer`, bit for bit."""

import numpy as np
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.hdl import integer
from marey.hdl.isa import Sfu
from marey.hdl.scalars import Scalars
from tests.configs import CONFIGS

CONFIG = CONFIGS[0]
HALF = CONFIG.scalars // 2
LARGE = st.integers(0, 31).flatmap(lambda bits: st.integers(0, (1 << bits) - 1))


def of(function, x, y, epsilon):
    """The results of a function, first the one that goes `into`: [(mantissa, exponent)]."""
    match function:
        case Sfu.QUANTISE:
            return list(integer.quantise_scalars(x[0]))
        case Sfu.RSQRT:
            return [integer.rsqrt(x[0] + epsilon)]
        case Sfu.RECIPROCAL:
            return [integer.reciprocal(x[0])]
        case Sfu.MULTIPLY:
            return [integer.multiply(x, y)]


@settings(max_examples=10, deadline=None)
@given(values=st.lists(LARGE, min_size=2, max_size=6), epsilon=st.integers(0, (1 << 16) - 1))
def test_functions(values, epsilon):
    """Of whole numbers, left by reductions, and then of what came of them."""
    dut = Scalars(CONFIG)
    operands = dut.command.operands

    async def compute(ctx, function, a, b, into):
        for name, value in {"function": function, "a": a, "b": b, "into": into, "epsilon": epsilon, "count": 1}.items():
            ctx.set(getattr(operands, name), value)
        ctx.set(dut.command.valid, 1)
        await ctx.tick()
        ctx.set(dut.command.valid, 0)
        await ctx.tick().repeat(Scalars.LATENCY + 3)

    async def scalar(ctx, register):
        ctx.set(dut.address, register)
        await ctx.tick()
        return ctx.get(dut.scalar.value), ctx.get(dut.scalar.exponent)

    async def bench(ctx):
        for register, value in enumerate(values, 1):
            ctx.set(dut.write, 1)
            ctx.set(dut.write_address, register)
            ctx.set(dut.write_value, value)
            await ctx.tick()
        ctx.set(dut.write, 0)
        assert await scalar(ctx, 0) == (1, 0) and await scalar(ctx, 1) == (values[0], 0)
        for register, value in enumerate(values, 1):
            scalars = []
            for function in (Sfu.QUANTISE, Sfu.RSQRT, Sfu.RECIPROCAL):
                await compute(ctx, function, register, 0, HALF)
                for number, expected in enumerate(of(function, (np.int64(value), 0), None, epsilon)):
                    scalars.append(tuple(int(part) for part in expected))
                    assert await scalar(ctx, HALF + number) == scalars[-1], (function, value)
            # The upper half has the reciprocal, and above it the step.
            await compute(ctx, Sfu.MULTIPLY, HALF, HALF + 1, HALF + 2)
            (product,) = of(Sfu.MULTIPLY, *((np.int64(scalars[n][0]), scalars[n][1]) for n in (3, 1)), 0)
            assert await scalar(ctx, HALF + 2) == tuple(int(part) for part in product)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
