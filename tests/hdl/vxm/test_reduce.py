"""The VXM's reducer on the RTL, with every number of stages, against numpy."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.hdl.spec.config import Config
from marey.hdl.spec.isa import Reduce
from marey.hdl.vxm.reduce import Reducer

KINDS = [Reduce.SUM, Reduce.MAX, Reduce.ABSMAX, Reduce.ARGMAX]


def tile(lanes, stages):
    return Config(name=f"{lanes}_{stages}", rows=lanes, cols=lanes, lanes=lanes, wram_depth=64, mem_depth=64,
                  reduce_stages=stages)


def expected(kind, values):
    """What the reduction makes of a round, int [beats, lanes]."""
    match kind:
        case Reduce.SUM:
            return values.sum()
        case Reduce.MAX:
            return values.max()
        case Reduce.ABSMAX:
            return abs(values).max()
        case Reduce.ARGMAX:
            return values.argmax()


@pytest.mark.parametrize(("lanes", "stages"), [(1, 1), (4, 1), (4, 2), (8, 2), (8, 3), (8, 5), (16, 3)])
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_rounds_behind_one_another(lanes, stages, data):
    """Granules in every cycle; each round's scalar comes `Reducer.latency` cycles after its last granule."""
    config = tile(lanes, stages)
    dut, seed = Reducer(config), data.draw(st.integers(0, 1 << 30))
    random = np.random.default_rng(seed)
    rounds = [(kind, random.choice([-32768, -1, 0, 1, 32767, *random.integers(-32768, 32768, 20)], (beats, lanes)))
              for kind in KINDS for beats in random.integers(1, 5, 3)]
    found = []

    async def feed(ctx):
        ctx.set(dut.keep, -1)
        ctx.set(dut.active, 1)
        for kind, values in rounds:
            for number, granule in enumerate(values):
                ctx.set(dut.kind, kind)
                ctx.set(dut.number, number)
                ctx.set(dut.first, number == 0)
                ctx.set(dut.ends, number == len(values) - 1)
                for lane, value in enumerate(granule):
                    ctx.set(dut.values[lane], int(value))
                await ctx.tick()
        ctx.set(dut.active, 0)
        await ctx.tick().repeat(Reducer.latency(config) + 1)

    async def watch(ctx):
        """All scalars, with the cycle in which they are there."""
        cycle = 0
        while True:
            _, _, done, result, argmax, index = await ctx.tick().sample(dut.done, dut.result, dut.argmax, dut.index)
            if done or argmax:
                found.append((cycle, index if argmax else result))
            cycle += 1

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(feed)
    simulator.add_testbench(watch, background=True)
    simulator.run()
    ends = np.cumsum([len(values) for _, values in rounds]) - 1 + Reducer.latency(config)
    assert found == [(end, expected(kind, values)) for end, (kind, values) in zip(ends, rounds, strict=True)], seed


def test_one_lane_of_a_round():
    """PICK gives the value of one lane."""
    dut, found = Reducer(tile(8, 3)), []

    async def testbench(ctx):
        ctx.set(dut.kind, Reduce.PICK)
        for name in ("active", "first", "ends"):
            ctx.set(getattr(dut, name), 1)
        ctx.set(dut.keep, -1)
        for lane in range(8):
            ctx.set(dut.values[lane], 100 - 30 * lane)
        for lane in range(8):
            ctx.set(dut.lane, lane)
            await ctx.tick().repeat(Reducer.latency(tile(8, 3)))
            found.append(ctx.get(dut.result))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert found == [100 - 30 * lane for lane in range(8)]
