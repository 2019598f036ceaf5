"""The proof that the repeat engine of MXM and VXM makes its beats in the cycles that the timetable says.

A monitor makes the beats as `marey.hdl.timing.beats` does: `outer` rounds of `middle` turns of `inner` beats; turns
begin max(`interval`, `inner`) cycles apart, and rounds too, or a period apart if they are paced. For all counts
that are not 0, in every cycle up to the first break of a rule: the engine makes a beat if, and only if, the
monitor does; turns and rounds end with it; and the engine reports an `overrun` if, and only if, counts of an
instruction come before the last beat of the one before it. The rule `whole` is the other assumption: no paced
round begins before the last beat of the one before it.
"""

import re
from pathlib import Path

from amaranth.hdl import Mux, Signal
from amaranth.lib import data

from marey.hdl.parts.repeat import COUNTS, Repeat
from marey.hdl.spec.config import Config
from marey.hdl.spec.isa import isa_of

from .copies import Copies
from .netlist import Netlist
from .tools import Failed

LOAD = data.StructLayout(dict.fromkeys((*COUNTS, "paced"), 1))
"""The layout of the engine's port `load`."""


class Beats:
    """The beats of an instruction by the timetable, added to a proof.

    `counts`: of the instruction, by name, and `paced`. `beats`: of the turn, from that of this cycle on; `turns`
    and `rounds` that have not begun; `turn_gap` and `round_gap`: cycles to the next turn, and to the next paced
    round, or 0; `works`: there are beats to come, or one in this cycle; `ends`: it is the last one.
    """

    def __init__(self, copies: Copies, engine: dict, bits: int):
        m, load = copies.m, data.View(LOAD, engine["load"])
        self.counts = {name: Signal(bits, name=f"of_{name}", reset_less=True) for name in COUNTS}
        self.beats, self.turns, self.rounds, self.turn_gap, self.round_gap = (
            Signal(bits, name=name) for name in ("beats", "turns", "rounds", "turn_gap", "round_gap"))
        self.paced, self.works, self.ends, self.broken, broke = (Signal(name=f"it_{name}") for name in (
            "paced", "works", "ends", "broken", "broke"))
        self.kept, now = ~broke, {}
        for name, kept in (self.counts | {"paced": self.paced}).items():
            now[name] = Mux(load[name], engine[name], kept)
            m.d.sync += kept.eq(now[name])
        self.longest = Mux(self.counts["interval"] > self.counts["inner"], self.counts["interval"], self.counts["inner"])
        self.turn = (self.turns != 0) & (self.turn_gap == 1)
        due = Mux(self.paced, self.round_gap, self.turn_gap) == 1
        self.round = (self.turns == 0) & (self.rounds != 0) & due
        missed = self.paced & (self.rounds != 0) & (
            (self.round_gap == 0) | ((self.round_gap == 1) & ((self.turns != 0) | (self.beats > 1))))
        self.early = load.as_value().any() & self.works & ~self.ends
        m.d.comb += [
            self.works.eq((self.beats != 0) | (self.turns != 0) | (self.rounds != 0)),
            self.ends.eq((self.beats == 1) & (self.turns == 0) & (self.rounds == 0)),
            self.broken.eq(self.early | missed),
        ]
        m.d.sync += [broke.eq(broke | self.broken), *(left.eq(Mux(left == 0, 0, left - 1)) for left in (
            self.beats, self.turn_gap, self.round_gap))]
        with m.If(self.turn | self.round):
            m.d.sync += [self.beats.eq(self.counts["inner"]), self.turn_gap.eq(self.longest)]
        with m.If(self.turn):
            m.d.sync += self.turns.eq(self.turns - 1)
        with m.Elif(self.round):
            m.d.sync += [self.turns.eq(self.counts["middle"] - 1), self.rounds.eq(self.rounds - 1),
                         self.round_gap.eq(self.counts["period"])]
        with m.If(engine["start"]):
            m.d.sync += [
                self.beats.eq(now["inner"]), self.turns.eq(now["middle"] - 1), self.rounds.eq(now["outer"] - 1),
                self.turn_gap.eq(Mux(now["interval"] > now["inner"], now["interval"], now["inner"])),
                self.round_gap.eq(now["period"]),
            ]
        # A start comes with counts, or after them: when the instruction before has ended.
        copies.assume(~engine["start"] | load.as_value().any() | ~self.works)
        for name in ("inner", "middle", "outer", "interval"):
            copies.assume(~engine["start"] | (now[name] != 0))


def prove(config: Config, folder: Path) -> Failed | None:
    """Proves it for the counts of a configuration. Returns what failed."""
    bits = isa_of(config).count_bits
    netlist = Netlist(Repeat(bits, apart=bool(config.chained)), folder, deepest=0)
    copies = Copies(netlist, set(), netlist.state, count=1)
    engine = copies.copies[0]
    # Amaranth adds a number to the name of a register that an input has, too.
    state = {re.sub(r"\$\d+$", "", name): engine[name] for name in netlist.state}
    rules = Beats(copies, engine, bits)
    claims = {
        "a beat": engine["active"] == (rules.beats != 0), "the last beat of a turn": engine["last"] == (rules.beats == 1),
        "the last beat of a round": engine["ends"] == ((rules.beats == 1) & (rules.turns == 0)),
        "a turn begins": engine["turn"] == rules.turn, "a round begins": engine["round"] == rules.round,
        "an overrun is an early count": engine["overrun"] == rules.early,
    }
    for name, holds in (claims | _invariants(state, rules)).items():
        copies.check(name, ~rules.kept | holds)
    for name, kept in (rules.counts | {"paced": rules.paced}).items():
        copies.check(f"the count {name}", state[f"kept_{name}" if name in COUNTS else name] == kept)
    return copies.prove(1)


def _invariants(state, rules):
    """How the engine's counters belong to the monitor's, while no rule is broken."""
    counts, works, bits = rules.counts, rules.works, len(rules.beats)
    spare = (rules.longest - counts["inner"]).as_unsigned()
    waits = rules.turn_gap != 0
    return {
        "none is 0": ~works | ((counts["inner"] != 0) & (counts["middle"] != 0) & (counts["outer"] != 0)
                               & (counts["interval"] != 0)),
        "busy": state["busy"] == works,
        "beats": (rules.beats == 0) | (state["inner"] + rules.beats == counts["inner"] + 1),
        "turns": ~works | (state["middle"] + rules.turns == counts["middle"]),
        "rounds": ~works | (state["outer"] + rules.rounds == counts["outer"]),
        "the turn's cycles": ~(works & waits) | (state["of_turn"] + rules.turn_gap == rules.longest + 1),
        "a turn is due": ~works | waits | ((rules.turns == 0) & (rules.beats == 0) & ((rules.rounds == 0) | rules.paced)),
        "a turn is as long as its beats": ~(works & waits) | Mux(
            rules.beats != 0, rules.turn_gap == rules.beats + spare, rules.turn_gap <= spare),
        "the interval has passed": ~(works & waits) | (state["passed"] == (state["of_turn"] > counts["interval"])),
        "a paced round is due": ~(works & rules.paced & (rules.rounds != 0)) | (rules.round_gap != 0) | rules.broken,
        "the round's cycles": ~(works & rules.paced & (rules.round_gap != 0)) | (
            (state["of_round"] + rules.round_gap - counts["period"] - 1)[:bits] == 0),
    }
