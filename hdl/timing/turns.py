"""The walk of a program without the turns of a loop that repeat the last one.

A run of a deep model is some 30 turns of one loop. Two turns of a loop are *alike* if they issue the
same instructions with the same counts, the second a fixed number of cycles after the first; their
addresses may differ. After two turns that are alike, and of which each address has moved from one to
the other as far as its address register moves over the second, all further turns but the last are
like them, because in a turn

- an address register gets a constant, or a constant is added to it. A register that has moved by d
  over the second turn moves by d over each further one;
- a count or a wait with an address register in it is the same in both turns. If a constant is added to
  that register in a turn, it is 0;
- the period is set to a constant, or not at all: it is the same in the second turn and in all further ones;
- the position and the token do not change: a turn with a TOKEN in it is not left out.

The last turn is walked, because it ends differently.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..spec.config import Config
from ..spec.isa import Address, Instruction, Op, isa_of
from .several import Number, equal, in_any
from .walk import ISSUE_LIMIT, Issue, ProgramError, State

ADDRESSES = ("act", "wgt", "x", "y", "dst", "near", "far")
"""Operands that are addresses in a memory."""


@dataclass(frozen=True)
class Turns:
    """Turns of a loop that are left out of a list of issues.

    first, end   the turn before them has the issues first to end - 1 of the list, and the turn before that one, which
                 is like it, as many issues before `first`
    times        turns left out
    cycles       from a turn to the next
    counter      the loop's counter
    """

    first: int
    end: int
    times: int
    cycles: Number
    counter: int


@dataclass(frozen=True)
class _Mark:
    """The state at the end of a turn: the LOOP's program counter, the number of issues so far, the cycle, the address
    registers, and the counters of other loops."""

    pc: int
    issues: int
    cycle: Number
    registers: tuple
    others: tuple


def abridged(config: Config, program: Sequence[Instruction], entry: int = 0, *, position: Number = 0, count: int = 1,
             token: Number = 0) -> tuple[list[Issue], list[Turns]]:
    """The issues of a run, as `trace` makes them, and the turns that are left out of them, in order. Runs of several positions
    or tokens are walked together: turns are left out that can be left out in all of them.

    Each issue is in its own cycle: those behind a gap follow later than those before it. ProgramError as for `trace`.
    """
    state, issues, skipped = State.of(config, entry, position=position, count=count, token=token), [], []
    marks: list[_Mark] = []
    left = ISSUE_LIMIT
    while left > 0:
        left -= 1
        issue = state.next_issue(program)
        issues.append(issue)
        if state.ends(issue):
            return issues, skipped
        state.execute(issue, lambda: 0)
        if issue.op is Op.TOKEN:
            marks = []
        elif issue.op is Op.LOOP:
            mark = _marked(issue, state, len(issues))
            marks = [*(each for each in marks[-1:] if each.pc == mark.pc and each.others == mark.others), mark]
            turns = _left_out(config, issue, issues, marks, state)
            if turns:
                _skip(state, turns, marks, isa_of(config).register_bits)
                left -= turns.times * (turns.end - turns.first)
                skipped.append(turns)
                marks = []
    raise ProgramError(f"{state.pc}: still running after {ISSUE_LIMIT} instructions")


def _marked(issue, state, issues):
    counter = issue.operands.get("counter", 0)
    others = tuple(turns for number, turns in enumerate(state.counters) if number != counter)
    return _Mark(issue.pc, issues, state.cycle, tuple(state.registers), others)


def _left_out(config, issue, issues, marks, state):
    """The turns that can be left out behind a LOOP, or None."""
    counter = issue.operands.get("counter", 0)
    turns = state.counters[counter]
    times = issue.operands["count"] - turns - 1
    if turns == 0 or times < 1 or len(marks) < 2:
        return None
    first, end = marks
    cycles, length, moved = end.cycle - first.cycle, end.issues - first.issues, _moved(first, end)
    earlier, later = issues[max(0, first.issues - length):first.issues], issues[first.issues:]
    if len(earlier) != length or any(distance is None for distance in moved):
        return None
    isa = isa_of(config)
    if not all(_alike(one, other, cycles) and _goes_straight(isa, one, other, moved, times)
               for one, other in zip(earlier, later, strict=True)):
        return None
    return Turns(first.issues, end.issues, times, cycles, counter)


def _moved(one, other):
    """By how much each address register has moved from one mark to another; None for one that has been set first."""
    return [0 if a is b is None else None if a is None or b is None else b - a
            for a, b in zip(one.registers, other.registers, strict=True)]


def _alike(one, other, cycles):
    """Whether an issue is like an earlier one: all but its cycle, and its addresses."""
    if one.pc != other.pc or not (equal(one.cycle + cycles, other.cycle) and equal(one.used_period, other.used_period)
                                  and equal(one.position, other.position) and equal(one.token, other.token)):
        return False
    return all(equal(value, other.operands[name]) or is_address(one, name) for name, value in one.operands.items())


def _goes_straight(isa, one, other, moved, times):
    """Whether the addresses of an issue have moved since an earlier one as far as their registers move in a turn, and can
    move as far so many times more."""
    moduli = isa.moduli(other.op)
    for name, value in other.instruction.addresses:
        if name in ADDRESSES:
            step = other.operands[name] - one.operands[name]
            last = other.operands[name] + times * step
            if not equal(step, moved[value.base]) or in_any((last < 0) | (last >= moduli[name])):
                return False
    return True


def is_address(issue: Issue, name: str) -> bool:
    """Whether an operand of an issue is an address in a memory, and not a count that has a register, or another number.
    """
    return name in ADDRESSES and isinstance(issue.instruction[name], Address)


def _skip(state, turns, marks, bits):
    """Takes the state behind the turns left out."""
    state.cycle = state.cycle + turns.times * turns.cycles
    state.counters[turns.counter] += turns.times
    for number, moved in enumerate(_moved(marks[-2], marks[-1])):
        if state.registers[number] is not None:
            state.registers[number] = (state.registers[number] + turns.times * moved) % (1 << bits)
