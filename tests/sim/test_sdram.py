"""The model of an SDRAM sees what the checker sees. tests/cocotb/bench_dram.py: it forgets what is not refreshed."""

import pytest
from amaranth.sim import Simulator

from marey.hdl.spec.dram_rules import COMMAND_BUS, RETENTION, Action, Command
from marey.sim.sdram import BUS_CONFLICT, WATCHED, SdramModel
from tests.dram import TIMING, TIMINGS, drives, pin_values
from tests.dram_programs import ACTIVATE, BREAKS, READ, WRITE, breaks


def run(actions, more=4, driven=None, timing=TIMING):
    """The rules that the model finds broken by a sequence, in their order. `driven`: the cycles in which the bus is driven."""
    model = SdramModel(timing, strict=False)
    by_cycle, driving = {action.cycle: action for action in actions}, drives(actions, timing) if driven is None else driven
    broken = []

    async def testbench(ctx):
        for cycle in range(actions[-1].cycle + more):
            command, bank, address = pin_values(by_cycle.get(cycle, Action(cycle, Command.NOP)))
            for name, value in (("command", command), ("bank", bank), ("address", address), ("drive", cycle in driving)):
                ctx.set(getattr(model.pins, name), value)
            broken.extend(name for bit, name in enumerate(WATCHED) if ctx.get(model.broken) >> bit & 1)
            await ctx.tick()

    simulator = Simulator(model)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return broken


@pytest.mark.parametrize("timing", TIMINGS.values(), ids=TIMINGS)
@pytest.mark.parametrize("rule", sorted(set(BREAKS) - {COMMAND_BUS, RETENTION}))
def test_each_rule(rule, timing):
    assert run(breaks(timing)[rule], timing=timing) == [rule]


def test_the_bus_is_driven_by_one():
    write = [Action(1, ACTIVATE, 0, 3), Action(4, WRITE, 0)]
    driving = drives(write, TIMING)
    assert run(write, 10) == []
    assert run(write, 10, driven=driving - {11}) == run(write, 10, driven=driving | {12}) == [BUS_CONFLICT]


def test_a_broken_rule_fails_an_assertion_that_names_it():
    model = SdramModel(TIMING)

    async def testbench(ctx):
        ctx.set(model.pins.command, READ)
        await ctx.tick()
        await ctx.tick()

    simulator = Simulator(model)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    with pytest.raises(AssertionError, match="SDRAM, cycle 0: a command breaks the rule row closed"):
        simulator.run()
