"""A quick proof that a run keeps the rules of the timetable, for programs whose loops repeat themselves.

`violations` looks at every cycle of every use. A `Prover` looks at the rules as they are: all but two say
what must not be true of *two* uses, or of one. So it is enough to compare the uses that meet in time and
in memory, and what two uses do to each other depends on their shapes, on the cycles between them, and on
the distance between their addresses only. Each such pair is decided once, however often it occurs: in 30
layers, or with other numbers of blocks. Accesses of one issue are decided by the functions of `rules`
and `within`; those of two issues by the last access of the earlier one to each entry, and the first of
the later one.

The others are the rule of partners, where the shared cycles of all pairs are added up, and that of the
end of a run and of a token, where the latest cycle counts.

A proof may be missing for a legal program. `violations` decides then, and has the messages.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from ..spec.config import Config
from ..spec.isa import Instruction, Op
from .issues import RunRules
from .rows import Rows, different, joined, met, rows_of
from .rules import check, first_out_of_order
from .several import in_any, in_run, in_runs
from .shapes import NUMBERS, Shape, key_of, kind_of, shape_of
from .turns import abridged
from .unit import Memory, Unit
from .walk import ProgramError, run_cycles
from .within import OWN, own_read

USERS = (Op.MXM, Op.VXM, Op.SFU, Op.MOVE, Op.TOKEN)
"""Operations that use units."""
NEVER = 1 << 60
"""A cycle that no run reaches."""
ROWS_TOGETHER = 1 << 16
"""Runs are proved together until they have so many rows."""
RUNS_TOGETHER = 64
"""So many runs are walked together, at most."""

Run = tuple[int, int, int, int]
"""A run: (entry, position, count, token); see `marey.hdl.timing.walk.trace`."""


class Prover:
    """Proves runs of one program. It keeps what it has found out of pairs of uses from run to run.

    Parameters: `config`, `program`.
    """

    def __init__(self, config: Config, program: Sequence[Instruction]):
        self.config, self.program = config, program
        numbers: dict[tuple, int] = {}
        # By program counter: the number of the instruction's kind; None if the instruction uses no unit.
        self._kinds = [numbers.setdefault(kind_of(instruction), len(numbers)) if instruction.op in USERS else None
                       for instruction in program]
        self._shapes: dict[tuple, Shape] = {}
        self._known: dict[tuple, int] = {}
        self._ends: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def check(self, entry: int = 0, *, position: int = 0, count: int = 1, token: int = 0) -> int:
        """Cycles of a run that breaks no rule. ProgramError, with the first violation, for any other; see
        `marey.hdl.timing.rules.check`."""
        proved = self.proves(entry, position=position, count=count, token=token)
        return proved or check(self.config, self.program, entry, position=position, count=count, token=token)

    def check_all(self, runs: Iterable[Run]) -> list[tuple[int, int, int, int]]:
        """`check` for runs, in order: (entry, position, count, cycles) of each. Runs are proved together, which takes less
        time."""
        found, waiting, rows = [], [], []
        for together in _together(runs):
            for run, of_run in zip(together, self._rows(together), strict=True):
                waiting.append(run)
                rows.append(of_run)
                if of_run is None or sum(each[0].part.size for each in rows) >= ROWS_TOGETHER:
                    found += self._checked(waiting, rows)
                    waiting, rows = [], []
        return found + (self._checked(waiting, rows) if waiting else [])

    def _checked(self, runs, rows):
        """What `check_all` returns for these runs. `rows`: the rows and the cycles of each, or None without a proof."""
        if None not in rows and self._rules_hold(joined([each for each, _ in rows])):
            return [(*run[:3], cycles) for run, (_, cycles) in zip(runs, rows, strict=True)]
        return [(entry, position, count, self.check(entry, position=position, count=count, token=token))
                for entry, position, count, token in runs]

    def proves(self, entry: int = 0, *, position: int = 0, count: int = 1, token: int = 0) -> int | None:
        """Cycles of a run of which it is proved that it breaks no rule; None if there is no proof."""
        (found,) = self._rows([(entry, position, count, token)])
        return found[1] if found and self._rules_hold(found[0]) else None

    def _rows(self, runs):
        """The rows and the cycles of each of these runs, which differ in positions and tokens only; None for one that breaks a
        rule for one issue, or for the end of a run and of a token, or if there is no proof."""
        found = self._walked(runs)
        if found is None and len(runs) > 1:
            return [of_run for run in runs for of_run in self._rows([run])]
        return found or [None]

    def _walked(self, runs):
        """What `_rows` returns for runs that are walked together; None if it is None for one of them."""
        entries, positions, counts, tokens = zip(*runs, strict=True)
        entry, count = entries[0], counts[0]
        try:
            issues, skipped = abridged(self.config, self.program, entry, position=in_runs(positions), count=count,
                                       token=in_runs(tokens))
        except ProgramError:
            return None
        rules, gaps = RunRules(self.config, count), {turns.end: turns for turns in skipped}
        for number, issue in enumerate(issues):
            if turns := gaps.get(number):
                rules.skip(turns.counter, turns.times)
            if rules.broken(issue):
                return None
        rows = rows_of(self.config, issues, skipped, self._shapes_of(issues, len(runs)), len(runs))
        cycles = [in_run(run_cycles(issues[-1]), run) for run in range(len(runs))]
        if rows is None or any(of_run.last.max(initial=0) > ended or any(last > following for last, following in of_run.tokens)
                               for of_run, ended in zip(rows, cycles, strict=True)):
            return None
        return list(zip(rows, cycles, strict=True))

    def _shapes_of(self, issues, runs=1):
        """The shape of each issue; a list if it is another in each run; None if the issue uses no unit."""
        of_runs: dict[tuple, Shape] = {}
        found = []
        for issue in issues:
            kind = self._kinds[issue.pc]
            if kind is None:
                found.append(None)
                continue
            # Shapes that depend on the number of blocks are of no use to further runs, and large.
            large = issue.instruction.counted_in_blocks or in_any(issue.used_period != 0)
            found.append(self._shape(of_runs if large else self._shapes, kind, issue, runs))
        return found

    def _shape(self, kept, kind, issue, runs):
        """The shape of an issue, or a list of those that it has in the runs. `kept`: shapes found so far, by key."""
        depends = kind, *key_of(self.config, issue)
        differ = any(isinstance(each, np.ndarray) for each in depends)
        keys = [depends]
        if differ:
            keys = zip(*(each.tolist() if isinstance(each, np.ndarray) else [each] * runs for each in depends), strict=True)
        found = []
        for run, key in enumerate(keys):
            if key not in kept:
                kept[key] = shape_of(self.config, issue.in_run(run))
            found.append(kept[key])
        return found if differ else found[0]

    def _rules_hold(self, rows: Rows) -> bool:
        """Whether rows of uses keep all rules of `marey.hdl.timing.rules`, but for those of the end of a run and of a token.
        """
        return (rows.in_bounds(self.config)
                and all(self._apart(rows, unit) for unit in Unit if unit.facts.clash)
                and all(self._partnered(rows, unit) for unit in Unit if unit.partner)
                and self._reduced_apart(rows)
                and all(self._in_order(rows, memory) for memory in Memory))

    def _decided(self, rows, rule, one, other, decide) -> np.ndarray:
        """`decide(part, part, cycles, entries, same)` for pairs of rows: int64 [pairs].

        one, other  numbers of rows, int64 [pairs]; the use of `one` comes before in the program, or is of the same issue
        cycles      from the issue of the first to that of the second
        entries     by how much the second's addresses have moved, less those of the first
        same        whether both are of one issue
        """
        if not one.size:
            return np.zeros(0, np.int64)
        facts = [rows.part[one], rows.part[other], rows.issued[other] - rows.issued[one], rows.moved[other] - rows.moved[one],
                 (rows.issue[one] == rows.issue[other]).astype(np.int64)]
        at, which = different(facts)
        results = np.zeros(at.size, np.int64)
        for number, (first, second, cycles, entries, same) in enumerate(np.stack(facts, axis=1)[at].tolist()):
            parts = rows.parts[first], rows.parts[second]
            key = rule, parts[0].number, parts[1].number, cycles, entries, same
            if key not in self._known:
                self._known[key] = decide(*parts, cycles, entries, same)
            results[number] = self._known[key]
        return results[which]

    def _apart(self, rows, unit):
        """Whether no two uses of an exclusive unit, or of two units that must be apart, share a cycle."""
        mine, rival = rows.unit == NUMBERS[unit], rows.unit == NUMBERS[unit.rival]
        if unit.rival is unit and not all(rows.parts[number].once for number in np.unique(rows.part[mine]).tolist()):
            return False
        one, other = met(rows, np.flatnonzero(mine | rival))
        differ = (rows.unit[one] != rows.unit[other]) if unit.rival is not unit else np.ones(one.size, bool)
        return not self._decided(rows, "apart", one[differ], other[differ], _shared).any()

    def _partnered(self, rows, unit):
        """Whether the unit is in use in no other cycles than its partner, given that both are exclusive."""
        mine, partner = NUMBERS[unit], NUMBERS[unit.partner]
        one, other = met(rows, np.flatnonzero((rows.unit == mine) | (rows.unit == partner)))
        differ = rows.unit[one] != rows.unit[other]
        one, other = one[differ], other[differ]
        shared = self._decided(rows, "partner", one, other, _shared)
        found = np.bincount(np.where(rows.unit[one] == mine, one, other), shared, rows.unit.size)
        sizes = rows.facts(lambda part: part.use.cycles.size)
        return bool((sizes == found)[rows.unit == mine].all())

    def _reduced_apart(self, rows):
        """Whether rounds that are reduced are apart."""
        own = [part.rounds for part in rows.parts.values() if part.rounds is not None]
        one, other = met(rows, np.flatnonzero(rows.facts(lambda part: part.rounds is not None)))
        return not any(_overlap(rounds) for rounds in own) and not self._decided(rows, "reduced", one, other, _mixed).any()

    def _in_order(self, rows, memory):
        """Whether accesses to the entries of a memory that are written happen in the order of the program."""
        accesses = [unit.access if unit.access and unit.access.memory is memory else None for unit in Unit]
        if not all(part.once for part in rows.parts.values() if (access := accesses[part.unit_number]) and access.writes):
            return False
        one, other = met(rows, np.flatnonzero(np.array([access is not None for access in accesses])[rows.unit]))
        writes = np.array([access is not None and access.writes for access in accesses])[rows.unit]
        near = (writes[one] | writes[other]) & (rows.low[one] <= rows.high[other]) & (
            rows.low[other] <= rows.high[one])
        return not self._decided(rows, memory, one[near], other[near], self._disordered).any()

    def _disordered(self, part, later, cycles, entries, same):
        """Whether an access of a use comes too early, or too late, for one of a later use, or of one of the same issue."""
        if same:
            accesses = _accesses(self.config, part, 0), _accesses(self.config, later, entries)
            return _reads_own(part, later, entries) or first_out_of_order(*np.concatenate(accesses, axis=1)) is not None
        # The earlier use must have accessed an entry for the last time before the later one does for the first time.
        low, high = max(part.low, later.low + entries), min(part.high, later.high + entries) + 1
        _, last = self._ends_of(part)
        first, _ = self._ends_of(later)
        return (last[low - part.low:high - part.low] >=
                first[low - later.low - entries:high - later.low - entries] + cycles).any()

    def _ends_of(self, part):
        """Cycles of the first and of the last access to each entry from the lowest to the highest one of a use: two int64 [n].
        An entry that it does not touch has NEVER for the first, and -NEVER for the last."""
        if part.number not in self._ends:
            entry, cycle, *_ = _accesses(self.config, part, -part.low)
            first, last = (np.full(part.high + 1 - part.low, never) for never in (NEVER, -NEVER))
            np.minimum.at(first, entry, cycle)
            np.maximum.at(last, entry, cycle)
            self._ends[part.number] = first, last
        return self._ends[part.number]


def _together(runs):
    """Runs in lists of those that can be walked together, one behind another: their entry and their count are the same."""
    together = []
    for run in runs:
        if together and ((run[0], run[2]) != (together[0][0], together[0][2]) or len(together) == RUNS_TOGETHER):
            yield together
            together = []
        together.append(run)
    if together:
        yield together


def _accesses(config, part, moved):
    """The accesses of a part as `first_out_of_order` takes them, if it issues in cycle 0: int64 [5, n]."""
    use, access = part.use, part.use.unit.access
    entry = use.entries(config) + moved
    cycle = np.repeat(use.cycles, use.entries_per_cycle(config))
    return np.stack([entry, cycle, *(np.full(entry.size, fact) for fact in (0, use.delay, int(access.writes)))])


def _reads_own(part, later, entries):
    """Whether a beat of a VXM reads what an earlier beat of it has written; the parts come in any order."""
    for written, read, moved in ((part, later, entries), (later, part, -entries)):
        name = OWN.get((written.use.unit, read.use.unit))
        if name and own_read(written.issue, written.use, replace(read.use, addresses=read.use.addresses + moved), name):
            return True
    return False


def _shared(part, later, cycles, _entries, _same):
    """The number of cycles that two uses share."""
    return np.intersect1d(part.use.cycles, later.use.cycles + cycles).size


def _mixed(part, later, cycles, _entries, _same):
    """Whether a round of one VXM that is reduced overlaps one of another."""
    return _overlap(np.concatenate([part.rounds, later.rounds + cycles]))


def _overlap(rounds):
    """Whether two of these rounds, int64 [n, 2], share a cycle."""
    rounds = rounds[np.argsort(rounds[:, 0], kind="stable")]
    return bool((rounds[1:, 0] <= np.maximum.accumulate(rounds[:, 1])[:-1]).any())
