"""The scalar unit: every function of it is that of `marey.hdl.spec.integer`, bit for bit."""

from dataclasses import replace

import numpy as np
import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.hdl.scalars import Scalars
from marey.hdl.spec import integer
from marey.hdl.spec.isa import Sfu
from tests.configs import CONFIGS

CONFIG = replace(CONFIGS[0], scalars=32)
HALF = CONFIG.scalars // 2
LARGE = st.integers(0, 31).flatmap(lambda bits: st.integers(-1 << bits, (1 << bits) - 1))
"""Numbers of every size. A negative one has no sign in the scalar unit: it counts as 2**32 more."""


def of(function, x, y, epsilon):
    """The results of a function, first the one that goes `into`: [(mantissa, exponent)]."""
    number = (x[0] + epsilon) % (1 << 32)
    match function:
        case Sfu.QUANTISE:
            return list(integer.quantise_scalars(number))
        case Sfu.RSQRT:
            return [integer.rsqrt(number)]
        case Sfu.RECIPROCAL:
            return [integer.reciprocal(number)]
        case Sfu.MULTIPLY:
            return [integer.multiply(x, y)]


@pytest.mark.parametrize("multiply_bits", [1, 8, 16])
@settings(max_examples=4, deadline=None)
@given(values=st.lists(LARGE, min_size=2, max_size=6), epsilon=st.integers(0, (1 << 16) - 1))
def test_functions(multiply_bits, values, epsilon):
    """Of whole numbers, left by reductions, and then of what came of them; written in its cycle, and not before."""
    config = replace(CONFIG, multiply_bits=multiply_bits)
    dut = Scalars(config)
    operands = dut.command.operands

    async def compute(ctx, function, a, b, into):
        for name, value in {"function": function, "a": a, "b": b, "into": into, "epsilon": epsilon, "count": 1}.items():
            ctx.set(getattr(operands, name), value)
        ctx.set(dut.command.valid, 1)
        await ctx.tick()
        ctx.set(dut.command.valid, 0)
        # The first beat is in this cycle.
        busy = Scalars.latency(config, function) + len(of(function, (1, 0), (1, 0), 0))
        for _ in range(busy):
            assert ctx.get(dut.active)
            await ctx.tick()
        assert not ctx.get(dut.active)

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
        # The VXM sees 16 bits.
        value, exponent = await scalar(ctx, 1)
        assert await scalar(ctx, 0) == (1, 0) and value & 0xFFFF == values[0] & 0xFFFF and exponent == 0
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


def test_beats_are_a_period_apart():
    """Reciprocals of registers 1 to 4, each in its cycle; a command that comes before the last of them is an overrun."""
    dut, period, count = Scalars(CONFIG), 7, 4

    async def bench(ctx):
        ctx.set(dut.write, 1)
        for register in range(1, count + 1):
            ctx.set(dut.write_address, register)
            ctx.set(dut.write_value, 1000 * register)
            await ctx.tick()
        ctx.set(dut.write, 0)
        operands = {"function": Sfu.RECIPROCAL, "a": 1, "into": HALF, "count": count, "period": period}
        for name, value in operands.items():
            ctx.set(getattr(dut.command.operands, name), value)
        ctx.set(dut.command.valid, 1)
        await ctx.tick()
        ctx.set(dut.command.valid, 0)
        for cycle in range(period * (count - 1) + Scalars.LATENCY):
            assert ctx.get(dut.active) == (cycle % period <= Scalars.LATENCY)
            ctx.set(dut.command.valid, 1)
            assert ctx.get(dut.overrun)
            ctx.set(dut.command.valid, 0)
            await ctx.tick()
        ctx.set(dut.command.valid, 1)
        assert not ctx.get(dut.overrun)
        ctx.set(dut.command.valid, 0)
        for number in range(count):
            ctx.set(dut.address, HALF + number)
            await ctx.tick()
            found = ctx.get(dut.scalar.value), ctx.get(dut.scalar.exponent)
            assert found == integer.reciprocal(np.int64(1000 * (number + 1)))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
