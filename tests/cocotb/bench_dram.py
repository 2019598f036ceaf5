"""External memory: the engine against the plan of its cycles, and the model of a chip against the checker of its rules."""

from itertools import pairwise

import cocotb

from marey.hdl.dram import DramEngine, Plan
from marey.hdl.dram.power_up import REFRESHES, PowerUp
from marey.hdl.spec.dram_parts import BURST
from marey.hdl.spec.dram_rules import RETENTION, Action, Checker, Command
from marey.hdl.timing.moves import move_actions
from marey.sim.sdram import WATCHED
from tests.cocotb.common import CONFIG, begin, cycle, rng
from tests.dram import TIMINGS, action_of, draw_legal, drives, pin_values
from tests.dram_programs import ACTIVATE, PRECHARGE, READ, REFRESH, WRITE, breaks

TIMING = TIMINGS[CONFIG.sdram_rate]
PART, PLAN = TIMING.part, Plan(TIMING)
LATENCY = DramEngine.read_latency(TIMING)
SEQUENCES = 1000


def broken_rules(value):
    """The names of rules by their bits."""
    return [name for bit, name in enumerate(WATCHED) if value.to_unsigned() >> bit & 1]


class Bench:
    """A chip and its engine."""

    def __init__(self, dut):
        self.dut = dut

    async def move(self, write, address, count, words=None, idle=0):
        """A move. Returns its cycles, its actions on the pins, by cycles from its start, and {cycle: word} that arrived."""
        dut, seen, arrived, soon = self.dut, [], {}, {}
        words = iter(words or ())
        for _ in range(idle):
            await cycle(dut)
        dut.start.value, dut.write.value, dut.address.value, dut.count.value = 1, write, address, count
        busy, now = None, 0
        while busy is None or now < busy + LATENCY + 4:
            # The word of this cycle was asked for `SOON` cycles ago.
            if soon.get(now - DramEngine.SOON):
                dut.word.value = next(words)
            await cycle(dut)
            now += 1
            dut.start.value = 0
            soon[now] = dut.soon.value == 1
            pins = (dut.seen__command, dut.seen__bank, dut.seen__address)
            action = action_of(now, *(pin.value.to_unsigned() for pin in pins))
            if action:
                seen.append(action)
            if dut.arrived.value == 1:
                arrived[now] = dut.data.value.to_unsigned()
            if busy is None and dut.busy.value == 0:
                busy = now
        assert next(words, None) is None and dut.overran.value == 0
        return busy, seen, arrived


async def initialised(dut):
    """The bench, after the chip's power-up."""
    await begin(dut)
    commands, cycles, late = [], 0, DramEngine.pin_latency(TIMING) - 1
    # The last commands reach the pins `late` cycles behind `ready`.
    while dut.ready.value == 0 or late:
        late -= int(dut.ready.value)
        await cycle(dut)
        cycles += 1
        commands.append(Command(dut.seen__command.value.to_unsigned()))
        mode = dut.seen__address.value.to_unsigned() if commands[-1] is Command.MODE else None
        assert mode in (None, 3 | TIMING.chip_cas << 4)
    assert cycles == PowerUp.cycles(TIMING) + DramEngine.pin_latency(TIMING) - 1
    assert [one for one in commands if one is not Command.NOP] == [Command.PRECHARGE, *[REFRESH] * REFRESHES, Command.MODE]
    return Bench(dut)


def in_order(actions):
    return [(action.cycle, action.command, action.bank, action.address if action.command is not PRECHARGE else 0)
            for action in actions]


@cocotb.test()
async def moves_take_the_cycles_of_the_plan(dut):
    """Drawn moves, one after the other: commands, words and cycles are those that were predicted, and nothing is forgotten."""
    bench, random, memory = await initialised(dut), rng(), {}
    lengths = [1, 2, PLAN.group, PLAN.group + 1, 2 * PLAN.group, 3 * PLAN.group + 1]
    for turn in range(40):
        count = random.choice([*lengths, random.randrange(1, 4 * PLAN.group)])
        write, address = turn % 2 == 0, random.randrange(PART.bursts - count)
        words = [random.randrange(1 << PART.bus_bits) for _ in range(count * BURST)] if write else []
        for burst in range(count if write else 0):
            memory[address + burst] = words[burst * BURST:][:BURST]
        idle = random.choice((0, 0, 1, random.randrange(20), random.randrange(2 * PLAN.period)))
        busy, seen, arrived = await bench.move(write, address, count, words, idle)
        assert busy == PLAN.busy(count)
        # The takeover: a REFRESH in its first cycle, or one that is under way.
        if seen[0].command is REFRESH:
            assert seen[0].cycle == DramEngine.pin_latency(TIMING)
            seen = seen[1:]
        ends = [action for action in seen if action.cycle < busy + DramEngine.pin_latency(TIMING)]
        assert in_order(ends) == in_order(move_actions(PLAN, address, count, write))
        assert sorted(arrived) == ([] if write else [PLAN.burst(burst) + LATENCY + word for burst in range(count)
                                                     for word in range(BURST)])
        for burst in range(0 if write else count):
            first = PLAN.burst(burst) + LATENCY
            got = [arrived[first + word] for word in range(BURST)]
            assert got == memory.get(address + burst, got), f"burst {address + burst}"
        assert dut.ever.value == 0 and dut.lost.value == 0, broken_rules(dut.ever.value)


@cocotb.test()
async def refreshes_are_never_further_apart_than_the_interval(dut):
    """Idle, in long moves, and over the edges between them."""
    bench, random, refreshes = await initialised(dut), rng(), []

    async def watch():
        now = 0
        while True:
            if dut.seen__command.value == REFRESH.value:
                refreshes.append(now)
            await cycle(dut)
            now += 1

    watching = cocotb.start_soon(watch())
    for _ in range(20):
        idle = random.choice((1, 3, PLAN.period, 3 * PLAN.period))
        await bench.move(False, random.randrange(64), random.choice((1, 5, PLAN.group, 3 * PLAN.group)), idle=idle)
    watching.cancel()
    apart = [later - earlier for earlier, later in pairwise(refreshes)]
    assert max(apart) <= TIMING.interval and PLAN.period in apart


@cocotb.test()
async def a_move_that_comes_too_early_is_a_fault(dut):
    await begin(dut)
    dut.start.value = 1
    await cycle(dut)
    assert dut.ready.value == 0 and dut.overrun.value == 1
    await cycle(dut)
    assert dut.overran.value == 1


async def driven(dut, actions, first, end):
    """Sets the chip's pins, and yields the cycle, in each cycle from `first` to before `end`; the caller lets it pass."""
    driving, by_cycle, before = drives(actions, TIMING), {action.cycle: action for action in actions}, None
    for now in range(first, end):
        values = (*pin_values(by_cycle.get(now, Action(now, Command.NOP))), now in driving)
        if values != before:
            command, bank, address, drive = before = values
            dut.chip__command.value, dut.chip__bank.value, dut.chip__address.value = command, bank, address
            dut.chip__drive.value = drive
        yield now


async def play(dut, actions):
    """Puts a sequence on the chip's pins. Returns the rules broken, in order, and the words on the bus by cycle.

    In a WRITE, the word of cycle c is c modulo 65536.
    """
    broken, words = [], {}
    async for now in driven(dut, actions, 0, actions[-1].cycle + 12):
        dut.chip__write.value = now & 0xFFFF
        await cycle(dut)
        words[now + 1] = dut.chip__read.value.to_unsigned()
        broken += broken_rules(dut.broken.value)
    return broken, words


async def chip_alone(dut):
    """The chip's pins are the bench's, and all rows are charged now."""
    await begin(dut)
    dut.direct.value = 1
    refreshes = [Action(1 + row * TIMING.rfc, REFRESH) for row in range(PART.rows)]
    await play(dut, refreshes)
    dut.clear.value = 1
    await cycle(dut)
    dut.clear.value = 0


def session(*idle_cycles, refreshed):
    """Writes a burst; then waits, each time with or without REFRESHes, and reads it."""
    actions, now = [Action(1, ACTIVATE, 0, 3), Action(4, WRITE, 0, 8), Action(20, PRECHARGE)], 20
    for cycles in idle_cycles:
        actions += [Action(cycle, REFRESH) for cycle in range(now + 20, now + cycles - 20, TIMING.interval) if refreshed]
        now += cycles
        actions += [Action(now, ACTIVATE, 0, 3), Action(now + 4, READ, 0, 8), Action(now + 20, PRECHARGE)]
        now += 20
    return actions


def words_read(words, actions):
    """The words of each READ."""
    return [[words[action.cycle + TIMING.cas + word] for word in range(TIMING.command_words)] for action in actions
            if action.command is READ]


@cocotb.test()
async def rows_that_are_refreshed_keep_their_words(dut):
    await chip_alone(dut)
    actions = session(3 * TIMING.retention // 2, refreshed=True)
    broken, words = await play(dut, actions)
    assert broken == [] and words_read(words, actions) == [list(range(4, 4 + TIMING.command_words))]


@cocotb.test()
async def rows_that_are_not_refreshed_come_back_wrong(dut):
    """All their words, from then on, until they are written again; and their rule is the only one that is broken."""
    await chip_alone(dut)
    actions = session(TIMING.retention // 2, TIMING.retention + 100, 300, refreshed=False)
    now = actions[-1].cycle
    again = [Action(now + 20, ACTIVATE, 0, 3), Action(now + 24, WRITE, 0, 8), Action(now + 45, READ, 0, 8),
             Action(now + 60, PRECHARGE)]
    lost = dut.lost.value.to_unsigned()
    broken, words = await play(dut, [*actions, *again])
    right, wrong, still, anew = words_read(words, [*actions, *again])
    assert broken == [RETENTION] and dut.lost.value == lost + 1
    count = TIMING.command_words
    assert right == list(range(4, 4 + count)) and anew == list(range(now + 24, now + 24 + count))
    assert wrong == still
    assert all(bad & 0xFF != good & 0xFF and bad >> 8 != good >> 8 for bad, good in zip(wrong, right, strict=True))


@cocotb.test()
async def a_row_is_forgotten_in_the_first_cycle_that_is_too_late(dut):
    await chip_alone(dut)
    assert (await play(dut, breaks(TIMING)[RETENTION]))[0] == [RETENTION]


@cocotb.test()
async def drawn_legal_sequences_break_no_rule(dut):
    """Many, one after the other, in the same chip: neither the checker nor the model finds anything."""
    await chip_alone(dut)
    checker, random, now = Checker(TIMING), rng(), 0
    for number in range(SEQUENCES):
        actions = draw_legal(checker, random, 5, now)
        async for _ in driven(dut, actions, now, actions[-1].cycle + 1):
            await cycle(dut)
        now = actions[-1].cycle + 1
        dut.chip__command.value = 0
        assert dut.ever.value == 0, f"sequence {number}: {broken_rules(dut.ever.value)}"
