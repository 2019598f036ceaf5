"""The rules of the timetable, and the check of a program against them.

The hardware has no interlock: a program that breaks a rule gives a wrong result. So no program
leaves the compiler, and none runs in the emulator, before `violations` has found nothing. The rules
are data of the units (`Facts` in `unit.py`):

exclusive   a unit with a `clash` serves one use in a cycle
apart       two units are not in use in the same cycle
partner     a unit is in use in just the cycles of its partner
bounded     addresses lie in their memory, reads of MEM in their window
in order    if one of two accesses to an entry of a memory is a write, they happen in the order of
            the program, in different cycles
ended       every use ends with the run, and with its token
reduced     rounds that are reduced do not overlap

Before these come the rules of `issues`, and for each VXM those of `within`.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from ..spec.config import Config
from ..spec.isa import Instruction, Op, Reduce
from .bounds import out_of_bounds
from .issues import issue_violations
from .unit import Memory, Unit
from .uses import Use, uses
from .violation import Violation
from .walk import Issue, ProgramError, run_cycles, trace
from .within import own_reads

Uses = dict[Unit, list[tuple[Issue, Use]]]
"""The uses of a run, by unit."""


def violations(config: Config, program: Sequence[Instruction], entry: int = 0, *, position: int = 0,
               count: int = 1, token: int = 0) -> list[Violation]:
    """The broken rules of a run; empty for a legal program.

    For each rule and unit only the first violation is listed; for addresses, the first of each use.

    The run begins at instruction `entry`, with `token` at `position`, and makes `count` tokens.
    Raises ProgramError for a program that does not halt or leaves the program memory.
    """
    issues = list(trace(config, program, entry, position=position, count=count, token=token))
    if found := issue_violations(config, issues, count):
        return found
    by_unit: Uses = defaultdict(list)
    found, last = [], 0
    for issue, following in zip(issues, [*issues[1:], None], strict=True):
        used = uses(config, issue)
        for use in used:
            by_unit[use.unit].append((issue, use))
            last = max(last, int(use.cycles[-1]))
        if issue.op is Op.VXM:
            found += own_reads(issue, used)
        elif issue.op is Op.TOKEN and last > following.cycle:
            found.append(Violation(f"still at work after a token has ended in cycle {following.cycle}", last, issue.pc))
    found += _mixed_reductions(by_unit[Unit.VXM_BEAT])
    for unit in Unit:
        found += _clashes(by_unit, unit)
    for unit in Unit:
        found += _without_partner(by_unit, unit)
    for unit in Unit:
        if unit.access:
            found += out_of_bounds(config, by_unit[unit], unit, unit.access)
    for memory in Memory:
        found += _out_of_order(config, by_unit, memory)
    return found + _unfinished(by_unit, run_cycles(issues[-1]))


def check(config: Config, program: Sequence[Instruction], entry: int = 0, *, position: int = 0,
          count: int = 1, token: int = 0) -> int:
    """Cycles of a run of a legal program. ProgramError for any other program: the first violation.
    """
    found = violations(config, program, entry, position=position, count=count, token=token)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise ProgramError(f"{found[0]}{more}")
    *_, halt = trace(config, program, entry, position=position, count=count)
    assert halt.op is Op.HALT
    return run_cycles(halt)


def _flat(pairs):
    """Cycles and program counters of uses, one use after the other: two int64 [n]."""
    if not pairs:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return (np.concatenate([use.cycles for _, use in pairs]),
            np.repeat([issue.pc for issue, _ in pairs], [use.cycles.size for _, use in pairs]))


def _first(what, cycles, pcs, wrong):
    """A list with the violation at the first of the indices `wrong`; empty if there is none."""
    return [Violation(what, int(cycles[i]), int(pcs[i])) for i in wrong[:1]]


def _clashes(by_unit, unit):
    """Two uses in one cycle of a unit that is exclusive, or of two units that must be apart."""
    if not unit.facts.clash:
        return []
    cycles, pcs = _flat(by_unit[unit])
    if unit.rival is unit:
        order = np.argsort(cycles, kind="stable")
        wrong = order[1:][np.diff(cycles[order]) == 0]
    else:
        wrong = np.flatnonzero(np.isin(cycles, _flat(by_unit[unit.rival])[0]))
    return _first(unit.facts.clash, cycles, pcs, wrong)


def _without_partner(by_unit, unit):
    """Uses of a unit in a cycle in which its partner is not in use."""
    if not unit.partner:
        return []
    cycles, pcs = _flat(by_unit[unit])
    partner_cycles, _ = _flat(by_unit[unit.partner])
    return _first(unit.facts.alone, cycles, pcs, np.flatnonzero(~np.isin(cycles, partner_cycles)))


def _accesses(config, by_unit, memory):
    """All accesses of a run to a memory, one element an entry touched; None if there are none.

    Six arrays [n]: entry, cycle, cycle of the issue, delay (see `Use`), pc, whether it writes.
    """
    columns = []
    for unit in Unit:
        pairs = by_unit[unit] if unit.access and unit.access.memory is memory else []
        if not pairs:
            continue
        sizes = [use.cycles.size * use.entries_per_cycle(config) for _, use in pairs]
        facts = [(issue.cycle, use.delay, issue.pc, unit.access.writes) for issue, use in pairs]
        entry = np.concatenate([use.entries(config) for _, use in pairs])
        cycle = np.concatenate([np.repeat(use.cycles, use.entries_per_cycle(config)) for _, use in pairs])
        columns.append((entry, cycle, *(np.repeat(fact, sizes) for fact in zip(*facts, strict=True))))
    return [np.concatenate(parts) for parts in zip(*columns, strict=True)] if columns else None


def _out_of_order(config, by_unit, memory):
    """The first access to a memory that does not happen in the order of the program."""
    columns = _accesses(config, by_unit, memory)
    if columns is None:
        return []
    # Reads of entries that the run never writes may happen in any order.
    entry, write = columns[0], columns[-1]
    ordered = np.isin(entry, entry[write])
    entry, cycle, issued, delay, pc, write = (column[ordered] for column in columns)
    i = first_out_of_order(entry, cycle, issued, delay, write)
    if i is None:
        return []
    done, missing = ("written", "used") if write[i] else ("read", "written")
    what = f"{memory} {entry[i]} is {done} before an earlier instruction has {missing} it"
    return [Violation(what, int(cycle[i]), int(pc[i]))]


def first_out_of_order(entry: np.ndarray, cycle: np.ndarray, issued: np.ndarray, delay: np.ndarray,
                       write: np.ndarray) -> int | None:
    """The number of the first access that does not happen in the order of the program; None if there is none.

    Five arrays [n], an element an entry accessed: the entry; the cycle; the cycle of the issue, or another number that
    rises with it; the delay (see `Use`); whether the entry is written.
    """
    if not entry.size:
        return None
    # The order of the program; within an instruction that of its beats, which read before they write.
    sort = np.lexsort((cycle, write, cycle - delay, issued, entry))
    entry, cycle, write = entry[sort], cycle[sort], write[sort]
    # Running maxima of the cycles within each entry: the entry is the high part of the key.
    base = entry * (int(cycle.max()) + 2)
    key = base + cycle + 1
    accessed = np.concatenate([[-1], np.maximum.accumulate(key)[:-1]])
    written = np.concatenate([[-1], np.maximum.accumulate(np.where(write, key, base))[:-1]])
    wrong = np.flatnonzero(key <= np.where(write, np.maximum(accessed, base), np.maximum(written, base)))
    return int(sort[wrong[0]]) if wrong.size else None


def reduced_rounds(issue: Issue, use: Use) -> np.ndarray | None:
    """First and last cycle of the beats of each round of a VXM that is reduced: int64 [outer, 2]; None if none is.

    `use`: its beats.
    """
    if issue.operands["reduce"] is Reduce.NONE:
        return None
    return use.cycles.reshape(issue.operands["outer"], -1)[:, [0, -1]]


def _mixed_reductions(pairs):
    """Rounds of two instructions that are reduced at the same time: the VXM has one reducer.

    `pairs`: the uses of VXM beats.
    """
    found = [(reduced_rounds(issue, use), issue.pc) for issue, use in pairs]
    rounds = [(ends, pc) for ends, pc in found if ends is not None]
    if not rounds:
        return []
    ends, pcs = np.concatenate([ends for ends, _ in rounds]), np.repeat([pc for _, pc in rounds], [len(e) for e, _ in rounds])
    order = np.argsort(ends[:, 0], kind="stable")
    ends, pcs = ends[order], pcs[order]
    wrong = np.flatnonzero(ends[1:, 0] <= np.maximum.accumulate(ends[:, 1])[:-1])
    return _first("a round is reduced before the one before it has ended", ends[1:, 0], pcs[1:], wrong)


def _unfinished(by_unit, end):
    """The first use that goes on after the last cycle of the run."""
    late = [Violation(f"still at work after the end of the run in cycle {end}", int(use.cycles[-1]), issue.pc)
            for pairs in by_unit.values() for issue, use in pairs if use.cycles[-1] > end]
    return late[:1]
