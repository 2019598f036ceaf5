"""The rules for one issue, and for the state of the sequencer that one issue leaves to the next.

These rules need no cycles of other units. They keep a program within what the model of the tile
describes:

own       a run depends on nothing that an earlier run left: no period, no turns of a loop
fits      a count, a pause and a period fit into their registers, and are not 0
data      no cycle depends on the token, or on a position within its block of the KV cache
whole     a round ends before the next begins; a pair of beats, or of halves, is not divided
wide      a function of the VXM has operands of 16 bits
steady    the token and the position do not change while an instruction still uses them

A program that breaks one of them has no meaning in the model, so the emulator does not execute it.
"""

from collections.abc import Iterable, Iterator

from ..sequencer import Sequencer
from ..spec import chained
from ..spec.config import Config
from ..spec.isa import POSITION_BITS, WAIT_BITS, Address, Function, Op, Reduce, Sfu, Source, Then, To, isa_of
from ..vxm import Vxm
from .beats import mxm_interval
from .distances import mxm_beat, vxm_beat
from .several import in_any, larger
from .violation import Violation
from .walk import Issue, ProgramError, blocks

MOST_CYCLES = 1 << 22
"""An instruction may work for so many cycles, so that its beats can be listed one by one."""

COUNTED = {Op.MXM: ("inner", "middle", "outer"), Op.VXM: ("inner", "middle", "outer", "interval")}


def issue_violations(config: Config, issues: Iterable[Issue], count: int = 1) -> list[Violation]:
    """The rules of this module that a run breaks, in the order of its issues.

    `issues` are those of a whole run, as `trace` makes them, that is asked for `count` tokens.
    """
    run = RunRules(config, count)
    return [Violation(what, issue.cycle, issue.pc) for issue in issues for what in run.broken(issue)]


def checked(config: Config, issues: Iterable[Issue], count: int = 1) -> Iterator[Issue]:
    """The issues of a run. ProgramError at the first one that breaks a rule of this module."""
    run = RunRules(config, count)
    for issue in issues:
        for what in run.broken(issue):
            raise ProgramError(str(Violation(what, issue.cycle, issue.pc)))
        yield issue


class RunRules:
    """The rules of this module for one run: what is known of it up to an issue. For several runs that are walked together
    a rule is broken if one of them breaks it.

    period_set  whether this run has set its period
    counters    turns that have ended, by loop counter; a counter at its start is left out
    wanted      tokens that are still wanted
    fine        by address register: what its contents depend on, besides the number of blocks
    state_used  the last cycle in which an earlier instruction uses the token or the position
    """

    def __init__(self, config: Config, count: int):
        self.config, self.wanted = config, count
        self.count_bits = isa_of(config).count_bits
        self.period_set = False
        self.counters: dict[int, int] = {}
        self.fine: dict[int, str] = {}
        self.state_used = -1

    def broken(self, issue: Issue) -> list[str]:
        """What is wrong with an issue; then the run goes on behind it."""
        match issue.op:
            case Op.MXM | Op.VXM:
                return self._counts(issue) or self._beats(issue)
            case Op.NOP:
                return self._nop(issue)
            case Op.SET:
                self.fine.pop(issue.operands["register"], None)
            case Op.INDEX:
                self._index(issue.operands)
            case Op.PERIOD:
                self.period_set = True
                return self._period(issue)
            case Op.LOOP:
                self._loop(issue.operands)
            case Op.TOKEN:
                return self._token(issue)
            case Op.STEP:
                return self._steady(issue.cycle, "a STEP changes the position")
            case Op.HALT:
                return self._halt(issue)
            case Op.SFU:
                return self._sfu(issue.operands)
        return []

    def skip(self, counter: int, turns: int) -> None:
        """Goes on behind so many further turns of a loop that are like its last one; see `marey.hdl.timing.turns`."""
        self.counters[counter] += turns

    def _index(self, operands):
        """Remembers what a register depends on."""
        of_token = operands["source"] is Source.TOKEN
        within_block = (1 << operands["right"]) < self.config.block
        self.fine.pop(operands["register"], None)
        if of_token or within_block:
            self.fine[operands["register"]] = "the token" if of_token else "the position within its block"

    def _data(self, register, what):
        """The rule that no cycle depends on data, for a register that a pause or a count has."""
        source = self.fine.get(register)
        return [f"{what} depends on {source}: INDEX made address register {register} of it"] if source else []

    def _nop(self, issue):
        operands, found = issue.operands, []
        if self.config.profile.counts_in_registers:
            return self._data(operands["register"], "the wait of a NOP")
        if operands["turns"]:
            found += self._has_period(issue, "a NOP with turns")
        if number := operands["blocks"]:
            filled = blocks(self.config, issue.position)
            found += self._fits(filled, self.count_bits, "the number of blocks")
            found += self._fits(filled << number - 1, WAIT_BITS, "the pause of a NOP with blocks")
        return found

    def _fits(self, value, bits, what):
        return [f"{what}, {value}, does not fit into {bits} bits"] if in_any(value >> bits != 0) else []

    def _has_period(self, issue, what):
        if not self.period_set:
            return [f"{what} comes before any PERIOD of this run"]
        return [f"{what} has a period of 0 cycles"] if in_any(issue.period == 0) else []

    def _period(self, issue):
        operands = issue.operands
        if self.config.profile.counts_in_registers:
            return []
        filled = blocks(self.config, issue.position) if operands["times"] else 0
        product = filled * operands["times"]
        period = larger(operands["least"], operands["value"] + product)
        return self._fits(larger(period, product), self.count_bits, "a period, or its blocks * times")

    def _loop(self, operands):
        counter = operands.get("counter", 0)
        ended = self.counters.pop(counter, 0) + 1
        if ended != operands["count"]:
            self.counters[counter] = ended

    def _in_loop(self, what):
        return [f"{what} within a loop: loop counter {min(self.counters)} would keep its turns"] if self.counters else []

    def _token(self, issue):
        found = self._in_loop("a TOKEN")
        if self.wanted == 0:
            found.append("a TOKEN, and no more tokens are wanted")
        self.wanted -= 1
        if self.wanted and in_any(issue.position + 1 >> POSITION_BITS != 0):
            found.append(f"the position after {issue.position} does not fit into {POSITION_BITS} bits")
        cycle = issue.cycle + Sequencer.token_latency(self.config)
        return found + self._steady(cycle, "a TOKEN steps position and token")

    def _steady(self, cycle, what):
        """The rule that the position and the token, which change behind a cycle, are no longer in use then."""
        used = in_any(self.state_used > cycle)
        return [f"{what}, which an earlier instruction uses until cycle {self.state_used}"] if used else []

    def _halt(self, issue):
        ends = not (issue.operands["if_prompt"] and self.wanted)
        return self._in_loop("the run ends") if ends else []

    def _counts(self, issue):
        """The rules for the counts of an MXM or VXM. `_beats` counts on them."""
        operands, found = issue.operands, []
        for name in COUNTED[issue.op]:
            given = issue.instruction[name]
            if isinstance(given, Address):
                found += self._data(given.base, f"the count {name}")
            if in_any(operands[name] == 0):
                found.append(f"the count {name} is 0")
        if issue.instruction.counted_in_blocks:
            name = issue.instruction.counted_in_blocks
            found += self._fits(operands[name], self.count_bits, f"the count {name}, in blocks")
        if operands["paced"] and operands["outer"] > 1:
            found += self._has_period(issue, "a paced instruction")
        return found

    def _beats(self, issue):
        """The rules for the beats of an MXM or VXM."""
        config, operands, is_mxm = self.config, issue.operands, issue.op is Op.MXM
        inner, middle, outer = (operands[name] for name in ("inner", "middle", "outer"))
        turn = mxm_interval(config, operands) if is_mxm else larger(operands["interval"], inner)
        length = (middle - 1) * turn + inner
        period = issue.period if operands["paced"] else middle * turn
        worked = (outer - 1) * period + length
        if in_any(worked > MOST_CYCLES):
            return [f"the instruction works for {worked} cycles, and {MOST_CYCLES} are the most"]
        if outer > 1 and in_any(period < length):
            return [f"a round of {length} cycles begins every {period} cycles"]
        if is_mxm:
            if operands["fetch"]:
                self._uses_state(issue.cycle + mxm_beat(config) + worked - 1)
            return _wide(config, operands)
        last = issue.cycle + vxm_beat(config) + worked - 1
        if operands["to"] in (To.KEYS, To.VALUES) or operands["reduce"] is Reduce.PICK:
            self._uses_state(last + Vxm.latency(config))
        elif operands["mask"]:
            self._uses_state(last + Vxm.latency(config) - 1)
        return self._vxm_operands(operands)

    def _uses_state(self, cycle):
        self.state_used = larger(self.state_used, cycle)

    def _vxm_operands(self, operands):
        inner, middle, function, found = operands["inner"], operands["middle"], operands["function"], []
        if operands.get("then", Then.NOTHING) is not Then.NOTHING:
            found += chained.broken(self.config, operands)
        if operands["pair"]:
            if in_any(inner * middle % 2 != 0):
                found.append(f"a round in pairs has {inner * middle} beats, an odd number")
            elif in_any((inner % 2 != 0) & (operands["interval"] > inner)):
                found.append(f"a pause comes between the two beats of a pair: inner is {inner}")
            if function is not Function.MULTIPLY:
                found.append(f"{function.name} works on single beats, and pair is set")
        if operands["stream"] and function is not Function.MULTIPLY:
            found.append(f"{function.name} takes values of 16 bits, and the MXM's stream has "
                         f"{self.config.accumulator_bits}")
        half = self.config.scalars // 2
        if operands["reduce"] not in (Reduce.NONE, Reduce.ARGMAX) and operands["into"] + operands["outer"] > half:
            found.append(f"reductions from scalar {operands['into']} on, {operands['outer']} of them, leave the lower "
                         f"half of {half} scalars")
        return found

    def _sfu(self, operands):
        found, half = [], self.config.scalars // 2
        if operands["count"] > 1 and not self.period_set:
            found.append("an SFU with a count comes before any PERIOD of this run")
        if operands["function"] is not Sfu.MULTIPLY and operands["a"] + operands["count"] > half:
            found.append(f"an SFU reads scalars from {operands['a']} on, {operands['count']} of them, which leave the "
                         f"lower half of {half}")
        return found


def _wide(config, operands):
    """The rules for an MXM whose weights have 8 bits on a tile of 4-bit weights."""
    if not operands.get("wide"):
        return []
    if operands["fetch"]:
        return ["an MXM fetches words, and wide is set"]
    if config.paired:
        return []
    odd = in_any(operands["inner"] % 2 != 0)
    return [f"an MXM with halves of weights has {operands['inner']} beats, an odd number"] if odd else []
