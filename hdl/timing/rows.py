"""The uses of a run as arrays, a row a use, in the order of the program."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from ..spec.config import Config
from ..spec.isa import Op
from .shapes import FACTS, PLACES, Part, Shape, addresses_of
from .turns import Turns
from .unit import Unit
from .walk import Issue


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
                ranges = np.unique(np.stack([self.low[rows] // entries, self.high[rows] // entries]), axis=1)
                if not all(window.covers(low, high + 1) for low, high in ranges.T.tolist()):
                    return False
        return True


def rows_of(config: Config, issues: Sequence[Issue], skipped: Sequence[Turns], shapes: Sequence[Shape | None]) -> Rows | None:
    """The rows of a run from its abridged issues, with those of the turns left out; None if it is not known how the
    addresses of a turn move."""
    used = [number for number, shape in enumerate(shapes) if shape]
    facts = np.concatenate([np.zeros((0, FACTS), np.int64), *(shapes[number].columns for number in used)])
    part, unit, first, last, low, high, moved_by, per_part, entries = facts.T
    sizes = np.zeros(len(issues), np.int64)
    sizes[used] = [len(shapes[number].parts) for number in used]
    issue = np.repeat(np.arange(len(issues)), sizes)
    issued = np.array([each.cycle for each in issues], np.int64)[issue]
    distances = np.zeros((len(issues), len(PLACES) + 1), np.int64)
    addresses, base = ([addresses_of(issues[each]) for each in used], [shapes[each].base for each in used])
    distances[used, :-1] = (np.array(addresses, np.int64) - np.array(base, np.int64)).reshape(-1, len(PLACES))
    moved = distances[issue, moved_by] // per_part * entries
    parts = {part.number: part for shape in dict.fromkeys(shapes[each] for each in used) for part in shape.parts}
    columns = np.stack([part, unit, issue, issued, moved, issued + first, issued + last, low + moved, high + moved], axis=1)
    starts = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    pieces, done, shift = [], 0, 0
    for turns in skipped:
        first, end = starts[turns.first], starts[turns.end]
        before = starts[2 * turns.first - turns.end]
        pieces.append(_behind(columns[done:end], shift))
        further = _further(columns[before:first], columns[first:end], turns)
        if further is None:
            return None
        pieces.append(_behind(further, shift))
        done, shift = end, shift + turns.times * (turns.end - turns.first)
    pieces.append(_behind(columns[done:], shift))
    whole = Columns(*np.ascontiguousarray(np.concatenate(pieces).T))
    return Rows(*(getattr(whole, field.name) for field in fields(Columns)), parts, _tokens(issues, skipped, whole))


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


def _behind(columns, shift):
    """Rows with larger numbers of issues."""
    moved = columns.copy()
    moved[:, 2] += shift
    return moved


def _further(earlier, later, turns):
    """The rows of turns left out, from those of the two turns before them; None if these differ in more than the
    cycles and places of their uses."""
    if earlier.shape != later.shape or (earlier[:, :2] != later[:, :2]).any():
        return None
    step = later - earlier
    return (later + step * np.arange(1, turns.times + 1)[:, None, None]).reshape(-1, later.shape[1])


def _tokens(issues, skipped, rows):
    """See `Rows.tokens`."""
    found = []
    for number, issue in enumerate(issues):
        if issue.op is Op.TOKEN:
            in_run = number + sum(turns.times * (turns.end - turns.first) for turns in skipped if turns.end <= number)
            until = rows.last[:np.searchsorted(rows.issue, in_run, "right")]
            found.append((int(until.max(initial=0)), issues[number + 1].cycle))
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
