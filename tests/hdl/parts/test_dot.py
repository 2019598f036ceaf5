"""Dot products, by multipliers and by adders alone: every value in its cycle."""

from operator import mul
from random import Random
from types import SimpleNamespace

import pytest
from amaranth import *
from amaranth.sim import Simulator

from marey.hdl.parts.dot import DotProduct


@pytest.mark.parametrize(("made", "stages"), [(DotProduct.by_multipliers, 1), (DotProduct.by_adders, 1),
                                              (DotProduct.by_multipliers, 2), (DotProduct.by_multipliers, 4)])
@pytest.mark.parametrize(("count", "bits"), [(4, 5), (2, 8), (1, 4), (8, 5)])
def test_a_dot_product_a_cycle(made, stages, count, bits):
    dot, random = DotProduct(count, bits, stages), Random(1)
    platform = SimpleNamespace(get_dot_product=made)
    ends = [-128, -1, 0, 127], [-1 << bits - 1, -1, 0, (1 << bits - 1) - 1]
    pairs = [[[random.choice([random.choice(some), random.randint(some[0], some[-1])]) for _ in range(count)] for some in ends]
             for _ in range(200)]

    async def user(ctx):
        for cycle, (a, b) in enumerate(pairs):
            ctx.set(dot.a, a)
            ctx.set(dot.b, b)
            await ctx.tick()
            if (before := cycle - dot.latency(stages) + 1) >= 0:
                wanted = pairs[before]
                assert ctx.get(dot.sum) == sum(map(mul, *wanted))

    simulator = Simulator(Fragment.get(dot, platform))
    simulator.add_clock(1e-6)
    simulator.add_testbench(user)
    simulator.run()
