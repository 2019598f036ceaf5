"""Proofs that slices keep their cycles under the rules of the timetable, and find each break of them.

`scalars`: a monitor follows the rules of SFU_ENGINE and SFU_BEAT (`marey.hdl.timing.uses`) from the count and
the period of each command. For all commands, in every cycle up to the first break of a rule: the unit is
at work in just the cycles that `uses` says; it writes in just those of `Scalars.latency`; and a fault is found
if, and only if, a rule is broken.

`drain`: results of column 0 come at least `beats_per_result` cycles apart, and those of column j come j
cycles later. Then no two granules leave in one cycle, and each leaves in the cycle of `Drain.latency`.
"""

import re
from pathlib import Path

from amaranth.hdl import C, Cat, Mux, Signal
from amaranth.lib import data

from marey.hdl.mxm.drain import Drain
from marey.hdl.scalars import Scalars
from marey.hdl.scalars.operand import Operand
from marey.hdl.scalars.pace import Pace
from marey.hdl.spec.command import arrives, command_layout
from marey.hdl.spec.config import Config
from marey.hdl.spec.isa import Op, Sfu
from marey.hdl.spec.row_encoding import length

from .copies import Copies
from .netlist import Netlist
from .tools import Failed

NETS = [f"{part}.{name}" for part, names in {
    "pace": ("beat", "left", "period", "since"), "operand": ("there", "multiplying", "step", "done"),
    "result": ("headed_there", "first", "second", "write")}.items() for name in names] + ["function"]
"""Signals of the scalar unit that the proof speaks of."""


class Rules:
    """What the timetable says of the scalar unit, from its commands: added to a proof.

    `function` of the instruction; `to_come`: its beats that have not begun; `gap`: cycles to the next of them;
    `beat`: one begins in this cycle; `work`: cycles, this one included, that the unit is at work for the last
    one; `broken`: a rule is broken in this cycle; `kept`: none was broken before.
    """

    def __init__(self, copies: Copies, config: Config, command: data.View):
        m, operands, steps = copies.m, command.operands, Operand.steps(config)
        begins = arrives(config, Op.SFU, command, "a")
        self.function, self.to_come, self.beat = Signal(Sfu), Signal.like(operands.count), Signal()
        self.period, self.gap = (Signal(len(operands.period), name=name) for name in ("period", "gap"))
        self.work, self.broken, broke = Signal(range(Scalars.LATENCY + steps + 2)), Signal(), Signal()
        self.kept, again, at_work = ~broke, (self.to_come != 0) & (self.gap == 1), self.work > 1
        m.d.comb += self.broken.eq(
            (again & at_work) | (begins & (at_work | (self.to_come != 0)))
            | (self.beat & (self.to_come != 0) & (self.period < 2)))
        function = Mux(begins, operands.function, self.function)
        cycles = Scalars.LATENCY + Mux(function == Sfu.MULTIPLY, steps, 0) + Mux(function == Sfu.QUANTISE, 2, 1)
        m.d.sync += [broke.eq(broke | self.broken), self.function.eq(function), self.beat.eq(command.valid | again),
                     self.gap.eq(self.gap - 1), self.work.eq(Mux(self.work == 0, 0, self.work - 1))]
        with m.If(again):
            m.d.sync += [self.to_come.eq(self.to_come - 1), self.gap.eq(self.period), self.work.eq(cycles)]
        with m.If(command.valid):
            m.d.sync += [self.to_come.eq(operands.count - 1), self.gap.eq(operands.period),
                         self.period.eq(operands.period), self.work.eq(cycles)]


def scalars(config: Config, folder: Path) -> Failed | None:
    """Proves it for the scalar unit of a configuration. Returns what failed."""
    netlist = Netlist(Scalars(config), folder, deepest=0)
    # Amaranth adds a number to the name of a component that a signal has, too.
    names = {re.sub(r"\$\d+(?=\.)", "", name): name for name in netlist.nets}
    copies = Copies(netlist, set(), [names[name] for name in NETS if name in names], count=1)
    unit = {name: copies.copies[0][full] for name, full in names.items() if full in copies.copies[0]}
    command = data.View(command_layout(config, Op.SFU), unit["command"])
    copies.assume(~command.valid | (command.operands.count != 0))
    begun = _rows_follow(copies, command)
    rules = Rules(copies, config, command)
    beat, left = unit["pace.beat"], unit["pace.left"]
    late = beat & (left > 1) & (unit["pace.period"] < Pace.LEAST)
    results = Mux(rules.function == Sfu.QUANTISE, 2, 1)
    claims = {
        "a fault is a broken rule": (unit["overrun"] | late) == rules.broken,
        "the unit is at work when it should be": unit["active"] == (rules.work != 0),
        "a command that has begun has the unit": ~begun | ((rules.work == 0) & (rules.to_come == 0)),
        "it writes when it should": unit["result.write"] == ((rules.work != 0) & (rules.work <= results)),
    }
    for name, holds in (claims | _invariants(unit, rules, config)).items():
        copies.check(name, ~rules.kept | holds)
    return copies.prove(1)


def _rows_follow(copies, command):
    """A compact tile's command comes in rows, one after another, as `Rows` gives them. Whether some of them have come."""
    if "rows" not in command.shape().members:
        return C(0)
    rows, whole = command.rows, length("SFU") - 1
    before = Signal.like(rows)
    copies.m.d.sync += before.eq(rows)
    for row in range(2, whole + 1):
        copies.assume(rows[row] == before[row - 1])
    copies.assume(command.valid == rows[whole])
    # No operand comes twice: rows of a command do not overlap those of the next.
    begun = Cat(before[row] for row in range(1, whole))
    copies.assume(~rows[1] | ~begun.any())
    copies.check("rows come one by one", (begun & (begun - 1)[:len(begun)]) == 0)
    return begun.any()


def _invariants(unit, rules, config):
    """How the unit's state belongs to the rules', while none is broken."""
    multiplies, steps = rules.function == Sfu.MULTIPLY, Operand.steps(config)
    results = Mux(rules.function == Sfu.QUANTISE, 2, 1)
    cycles = Scalars.LATENCY + Mux(multiplies, steps, 0) + results
    since = (cycles - rules.work).as_unsigned()
    at_work, done = rules.work != 0, Mux(multiplies, 2 + steps, 2)

    def at(cycle):
        return at_work & (since == cycle)

    multiplying = at_work & multiplies & (since >= 2) & (since < 2 + steps)
    found = {
        "cycles of work": rules.work <= cycles,
        "the beat": unit["pace.beat"] == rules.beat, "a beat is the first cycle": ~rules.beat | at(0),
        "the first cycle is a beat": ~at(0) | rules.beat,
        "beats that are left": unit["pace.left"] == rules.to_come + rules.beat,
        "the function": unit["function"] == rules.function.as_value(),
        "the period": (rules.to_come == 0) | (unit["pace.period"] == rules.period),
        "cycles since the beat": (rules.to_come == 0) | (
            (unit["pace.since"] + rules.gap - rules.period - 1)[:len(rules.gap)] == 0),
        "the gap": (rules.to_come == 0) | Mux(rules.beat, rules.gap == rules.period,
                                              (rules.gap != 0) & (rules.gap < rules.period)),
        "operands are there": unit["operand.there"] == at(1),
        "it multiplies": unit["operand.multiplying"] == multiplying,
        "the operand is done": unit["operand.done"] == (at_work & (since == done)),
        "the head is there": unit["result.headed_there"] == (at_work & (since == done + 1)),
        "the first result": unit["result.first"] == (at_work & (since == done + 2)),
        "the second result": unit["result.second"] == (
            at_work & (rules.function == Sfu.QUANTISE) & (since == done + 3)),
    }
    if steps > 1:
        found["the step"] = Mux(multiplying, unit["operand.step"] == (since - 2).as_unsigned(), unit["operand.step"] == 0)
    return found


def drain(config: Config, folder: Path) -> Failed | None:
    """Proves it for the drain of a configuration. Returns what failed."""
    copies = Copies(Netlist(Drain(config), folder, deepest=0), set(), [], count=1)
    m, unit = copies.m, copies.copies[0]
    cols, beats, latency = config.cols, config.beats_per_result, Drain.latency(config)
    # done[0] in this cycle, a cycle ago, and so on.
    past = [unit["done__0"]]
    for ago in range(1, cols + beats + latency):
        past.append(Signal(name=f"done_{ago}_ago"))
        m.d.sync += past[-1].eq(past[-2])
    for ago in range(1, beats):
        copies.assume(~(past[0] & past[ago]))
    for column in range(1, cols):
        copies.assume(unit[f"done__{column}"] == past[column])
    copies.check("no two granules leave in one cycle", ~unit["collision"])
    copies.check("granules leave in their cycles", unit["valid"] == Cat(past[latency + beat] for beat in range(beats)).any())
    return copies.prove(cols + beats + latency)
