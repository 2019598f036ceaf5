"""The plan of a move is legal for every chip, at every clock, wherever it lies; and the engine reaches the rate it promises."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from amaranth.sim import Simulator

from marey.hdl.dram import DramEngine, Plan
from marey.hdl.spec.dram_parts import BURST, PARTS, PartError
from marey.hdl.spec.dram_rules import Action, Checker, Command
from marey.hdl.timing.moves import move_actions, place
from tests.dram import FULL_SIZE, SMALL

CLOCKS_MHZ = (50, 66, 80, 100, 120, 133, 143)
PLANS = [Plan(chip.at(mhz / rate, rate)) for rate in (1, 2) for chip in PARTS.values() for mhz in CLOCKS_MHZ]
WHOLE_ENTRIES = [Plan(replace(plan.timing, entry_words=2 << at % 3)) for at, plan in enumerate(PLANS)]
"""The same for tiles whose entries of W-RAM take several words, which come in the same places behind a pause."""


def name_of(plan):
    return f"{plan.timing.part.name}-{plan.timing.clock_mhz:g}-{plan.timing.rate}"


def moves(plan, seed, count):
    """Drawn moves with the REFRESHes between them, on the pins: [Action]."""
    draw, now, found, refreshed, latency = random.Random(seed), 0, [], -plan.period, DramEngine.pin_latency(plan.timing)
    for _ in range(count):
        for _ in range(draw.choice((0, 1, 7, draw.randrange(3 * plan.period)))):
            if now - refreshed >= plan.period:
                refreshed = now
                found.append(Action(now + latency, Command.REFRESH))
            now += 1
        if now - refreshed >= plan.timing.rfc:
            refreshed = now
            found.append(Action(now + latency, Command.REFRESH))
        bursts = draw.choice((1, 2, 9, plan.group, plan.group + 1, 3 * plan.group))
        actions = move_actions(plan, draw.randrange(plan.timing.part.bursts), bursts, draw.random() < 0.5)
        found += [replace(action, cycle=now + action.cycle) for action in actions]
        refreshed = max([refreshed, *(action.cycle - latency for action in found if action.command is Command.REFRESH)])
        now += plan.busy(bursts)
    return found


@pytest.mark.parametrize("plan", [plans[at % 2] for at, plans in enumerate(zip(PLANS, WHOLE_ENTRIES, strict=True))],
                         ids=lambda plan: f"{name_of(plan)}-{plan.timing.entry_words}")
def test_moves_break_no_rule(plan):
    assert plan.pause % plan.timing.entry_words == 0
    found = moves(plan, seed=plan.timing.clock_mhz, count=8)
    assert Checker(plan.timing).check(found) == []
    refreshes = [action.cycle for action in found if action.command is Command.REFRESH]
    assert max(later - earlier for earlier, later in pairwise(refreshes)) <= plan.timing.interval


def test_every_burst_has_a_place():
    part = replace(FULL_SIZE, rows=8, columns=32)
    places = [place(part, burst) for burst in range(part.bursts)]
    assert len(set(places)) == part.bursts and place(part, part.bursts) == places[0]
    assert places[:5] == [(0, 0, 0), (0, 0, 8), (0, 0, 16), (0, 0, 24), (1, 0, 0)] and places[-1] == (3, 7, 24)


def test_a_part_that_the_engine_cannot_serve_is_refused():
    with pytest.raises(PartError, match="small at 100 MHz has times that the memory engine cannot keep: choose a slower clock"):
        Plan(replace(SMALL.at(100), rcd=9))


@pytest.mark.parametrize("plan", [plan for plan in PLANS if plan.timing.clock_mhz >= 50],
                         ids=name_of)
def test_the_rate_of_a_long_move(plan):
    """Derived: at least 97 % of the bus's words over 64 KB, the takeover and all REFRESHes included."""
    bursts = (64 << 10) // (BURST * plan.timing.part.bus_bits // 8)
    assert bursts * BURST / plan.busy(bursts) > 0.97


def test_the_rate_is_reached():
    """Measured: the words that arrive, and the cycles until the next move may start, at 100 MHz on the ULX3S's chip,
    where a pause for REFRESH is longer than it must be."""
    timing, bursts, words = replace(SMALL.at(100), entry_words=8), 300, []
    engine, plan = DramEngine(timing), Plan(timing)

    async def testbench(ctx):
        while not ctx.get(engine.ready):
            await ctx.tick()
        ctx.set(engine.start, 1)
        ctx.set(engine.count, bursts)
        await ctx.tick()
        ctx.set(engine.start, 0)
        cycles = 1
        while ctx.get(engine.busy):
            words.append(ctx.get(engine.arrived))
            await ctx.tick()
            cycles += 1
        # The last words are on their way.
        for _ in range(DramEngine.read_latency(timing)):
            words.append(ctx.get(engine.arrived))
            await ctx.tick()
        assert plan.takeover > timing.rfc and cycles == plan.busy(bursts)
        assert sum(words) == bursts * BURST and bursts * BURST / cycles > 0.97

    simulator = Simulator(engine)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
