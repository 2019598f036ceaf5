"""The repeat engine: a beat in just the cycles that its counts say."""

from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.hdl.parts.repeat import COUNTS, Repeat

BITS = 5
LOAD = dict.fromkeys((*COUNTS, "paced"), 1)


@st.composite
def commands(draw):
    inner, middle, interval = (draw(st.integers(1, most)) for most in (5, 4, 7))
    period = middle * max(interval, inner) + draw(st.integers(0, 3))
    return {"inner": inner, "middle": middle, "outer": draw(st.integers(1, 4)), "interval": interval,
            "period": period, "paced": draw(st.integers(0, 1))}


def beats(command):
    """Cycles of the beats, and those that end a round, from the first on."""
    interval = max(command["interval"], command["inner"])
    period = command["period"] if command["paced"] else command["middle"] * interval
    found = [[o * period + m * interval + i for m in range(command["middle"]) for i in range(command["inner"])]
             for o in range(command["outer"])]
    return {cycle for round_ in found for cycle in round_}, {round_[-1] for round_ in found}


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(commands(), st.integers(0, 3)), min_size=1, max_size=5), st.booleans())
def test_beats(run, apart):
    """Commands follow each other from the cycle of the last beat on."""
    dut = Repeat(BITS, apart=apart)

    async def bench(ctx):
        for command, pause in run:
            active, ends = beats(command)
            ctx.set(dut.load, LOAD)
            ctx.set(dut.start, 1)
            for name, value in command.items():
                ctx.set(getattr(dut, name), value % (1 << BITS))
            assert not ctx.get(dut.overrun)
            await ctx.tick()
            ctx.set(dut.load, dict.fromkeys(LOAD, 0))
            ctx.set(dut.start, 0)
            for cycle in range(max(active) + 1):
                assert ctx.get(dut.active) == (cycle in active) and ctx.get(dut.ends) == (cycle in ends), cycle
                if cycle < max(active):
                    await ctx.tick()
            for _ in range(pause):
                await ctx.tick()
                assert not ctx.get(dut.active)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_a_command_too_early_shows():
    dut = Repeat(BITS)

    async def bench(ctx):
        ctx.set(dut.load, LOAD)
        for name in ("start", "middle", "outer", "interval"):
            ctx.set(getattr(dut, name), 1)
        ctx.set(dut.inner, 3)
        await ctx.tick()
        assert ctx.get(dut.overrun)
        await ctx.tick().repeat(2)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
