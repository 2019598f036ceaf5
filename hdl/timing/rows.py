"""The uses of a run as arrays, a row a use, in the order of the program."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from ..spec.config import Config
from ..spec.isa import Op
from .several import in_run
from .shapes import FACTS, PLACES, Part, Shape, addresses_of
from .turns import Turns
from .unit import Unit
from .walk import Issue

MOST_KEYS = 1 << 62
"""Numbers of several facts in one number, at most, so that it has 63 bits."""


@dataclass(frozen=True)
class Columns:
    """int64 [rows] each.

    part         number of the part of a shape
    unit         number of the unit, in the order of `Unit`
    issue        number of the issue in the run
    issued       cycle of the issue
    moved        entries by which the addresses have moved from those of the part
    first, last  cycles of the first and of the last use
    low, high    lowest and highest entry of the memory; 0 without addresses
    """

    part: np.ndarray
    unit: np.ndarray
    issue: np.ndarray
    issued: np.ndarray
    moved: np.ndarray
    first: np.ndarray
    last: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Rows(Columns):
    """The rows of a run. `parts`: the parts of its shapes, by number. `tokens`: for each TOKEN, (the last cycle of a use up to
    it, the cycle of the issue after it)."""

    parts: dict[int, Part]
    tokens: list[tuple[int, int]]

    @cached_property
    def _numbers(self):
        """The numbers of the parts, rising, and the place in them of each row's."""
        return np.unique(self.part, return_inverse=True)

    def facts(self, fact: Callable[[Part], int | bool]) -> np.ndarray:
        """A fact of the part of each row: [rows]."""
        numbers, place = self._numbers
        return np.array([fact(self.parts[number]) for number in numbers.tolist()], np.int64)[place]

    def in_bounds(self, config: Config) -> bool:
        """Whether all addresses lie in their memory, and reads of MEM in the window of their port."""
        for number, unit in enumerate(Unit):
            rows = self.unit == number
            if not unit.access or not rows.any():
                continue
            entries = unit.access.entries(config)
            low, high = int(self.low[rows].min()) // entries, int(self.high[rows].max()) // entries
            window = config.windows.get(unit.access.window)
            if low < 0 or high >= unit.access.depth(config):
                return False
            if window and not window.whole:
                ranges = np.stack([self.low[rows], self.high[rows]]) // entries
                at, _ = different(ranges)
                if not all(window.covers(low, high + 1) for low, high in ranges[:, at].T.tolist()):
                    return False
        return True


def rows_of(config: Config, issues: Sequence[Issue], skipped: Sequence[Turns], shapes: Sequence[Shape | list[Shape] | None],
            runs: int = 1) -> list[Rows] | None:
    """The rows of runs that were walked together, run by run, from their abridged issues, with those of the turns left out.
    `shapes`: of each issue, a list where that of each run is another. None if it is not known how the addresses of a turn move,
    or if the numbers of uses differ from run to run."""
    used = [number for number, shape in enumerate(shapes) if shape]
    varying = {number: shapes[number] for number in used if isinstance(shapes[number], list)}
    if any(len(each.parts) != len(of_runs[0].parts) for of_runs in varying.values() for each in of_runs):
        return None
    sizes = np.zeros(len(issues), np.int64)
    sizes[used] = [len(_first(shapes[number]).parts) for number in used]
    starts = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    facts = np.concatenate([np.zeros((0, FACTS), np.int64), *(_first(shapes[number]).columns for number in used)])
    facts = np.repeat(facts.T[:, None], runs, axis=1)
    for number, of_runs in varying.items():
        facts[:, :, starts[number]:starts[number + 1]] = np.moveaxis([each.columns for each in of_runs], 2, 0)
    part, unit, first, last, low, high, moved_by, per_part, entries = facts
    issue = np.repeat(np.arange(len(issues)), sizes)
    cycles = np.zeros((len(issues), runs), np.int64)
    for number, each in enumerate(issues):
        cycles[number] = each.cycle
    issued = cycles.T[:, issue]
    distances = _distances(issues, used, shapes, varying, runs)
    moved = distances[np.arange(runs)[:, None], issue, moved_by] // per_part * entries
    columns = np.stack([part, unit, np.broadcast_to(issue, part.shape), issued, moved, issued + first, issued + last,
                        low + moved, high + moved])
    pieces, shifts, done = [], [0], 0
    for turns in skipped:
        begin, end = starts[turns.first], starts[turns.end]
        before = starts[2 * turns.first - turns.end]
        further = _further(columns[:, :, before:begin], columns[:, :, begin:end], turns)
        if further is None:
            return None
        pieces += [columns[:, :, done:end], further]
        shifts += [shifts[-1], shifts[-1] + turns.times * (turns.end - turns.first)]
        done = end
    pieces.append(columns[:, :, done:])
    whole = np.concatenate(pieces, axis=2)
    # Behind turns that are left out, issues have larger numbers.
    whole[2] += np.repeat(shifts, [piece.shape[2] for piece in pieces])
    parts = {part.number: part for shape in dict.fromkeys(each for number in used for each in _each(shapes[number]))
             for part in shape.parts}
    found = [Columns(*whole[:, run]) for run in range(runs)]
    return [Rows(*(getattr(each, field.name) for field in fields(Columns)), parts, _tokens(issues, skipped, each, run))
            for run, each in enumerate(found)]


def _each(shapes):
    """The shapes of an issue, as a list."""
    return shapes if isinstance(shapes, list) else [shapes]


def _first(shapes):
    """The shape of an issue in the first run."""
    return _each(shapes)[0]


def _distances(issues, used, shapes, varying, runs):
    """By how much each address of each issue has moved from its shape's: int64 [runs, issues, PLACES + 1], the last one 0."""
    distances = np.zeros((runs, len(issues), len(PLACES) + 1), np.int64)
    addresses = [addresses_of(issues[number]) for number in used]
    plain = [[0 if isinstance(each, np.ndarray) else each for each in of_issue] for of_issue in addresses]
    bases = [_first(shapes[number]).base for number in used]
    distances[:, used, :-1] = (np.array(plain, np.int64) - np.array(bases, np.int64)).reshape(-1, len(PLACES))
    for number, of_issue in zip(used, addresses, strict=True):
        for place, address in enumerate(of_issue):
            if isinstance(address, np.ndarray):
                distances[:, number, place] += address
    for number, of_runs in varying.items():
        distances[:, number, :-1] += np.array(of_runs[0].base) - [each.base for each in of_runs]
    return distances


def joined(runs: Sequence[Rows]) -> Rows:
    """The rows of several runs as those of one, in which each run begins when all uses of the run before it have ended, so
    that uses of two runs never meet. `tokens` is left out."""
    columns, begin, issues, parts = [], 0, 0, {}
    for rows in runs:
        moved = {"issue": rows.issue + issues} | {name: getattr(rows, name) + begin for name in ("issued", "first", "last")}
        columns.append([moved.get(field.name, getattr(rows, field.name)) for field in fields(Columns)])
        begin += int(rows.last.max(initial=0)) + 1
        issues += int(rows.issue.max(initial=0)) + 1
        parts |= rows.parts
    whole = [np.concatenate(pieces) for pieces in zip(*columns, strict=True)]
    return Rows(*whole, parts, [])


def _further(earlier, later, turns):
    """The rows of turns left out, from those of the two turns before them, [columns, runs, rows]; None if these differ in more
    than the cycles and places of their uses."""
    if earlier.shape != later.shape or (earlier[:2] != later[:2]).any():
        return None
    step = later - earlier
    further = later[:, :, None] + step[:, :, None] * np.arange(1, turns.times + 1)[:, None]
    return further.reshape(*later.shape[:2], -1)


def _tokens(issues, skipped, rows, run):
    """See `Rows.tokens`."""
    found = []
    for number, issue in enumerate(issues):
        if issue.op is Op.TOKEN:
            behind = sum(turns.times * (turns.end - turns.first) for turns in skipped if turns.end <= number)
            until = rows.last[:np.searchsorted(rows.issue, number + behind, "right")]
            found.append((int(until.max(initial=0)), in_run(issues[number + 1].cycle, run)))
    return found


def met(rows: Rows, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of the chosen rows, int64 [n] and rising, of which the second begins before the first has ended, or that
    are of one issue.

    Returns the numbers of the first and of the second rows, int64 [pairs]. The first is never of a later issue.
    """
    first, last, issue = rows.first[chosen], rows.last[chosen], rows.issue[chosen]
    latest, earliest = np.maximum.accumulate(last), np.minimum.accumulate(first[::-1])[::-1]
    ones, others = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for distance in range(1, chosen.size):
        same = issue[distance:] == issue[:-distance]
        # Else no row from here on begins before one that is `distance` or more rows before it has ended.
        if not (same | (earliest[distance:] <= latest[:-distance])).any():
            break
        at = np.flatnonzero(same | (first[distance:] <= last[:-distance]))
        ones.append(chosen[at])
        others.append(chosen[at + distance])
    return np.concatenate(ones), np.concatenate(others)


def different(facts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Which columns of `facts`, each int64 [n] with n > 0, differ: the place of one of each kind, and the number of each
    column's kind, int64 [n]. As `np.unique` of a table does it, which takes far longer.
    """
    key, size = np.zeros(len(facts[0]), np.int64), 1
    for fact in facts:
        rising, span = fact - fact.min(), int(fact.max()) - int(fact.min()) + 1
        if size * span > MOST_KEYS:
            (key, size), (rising, span) = _ranked(key), _ranked(rising)
        key, size = key * span + rising, size * span
    _, at, which = np.unique(key, return_index=True, return_inverse=True)
    return at, which


def _ranked(values):
    """Numbers from 0 on in the order of values, and how many there are."""
    found, ranks = np.unique(values, return_inverse=True)
    return ranks, found.size
