"""The pace of attention behind the scores, on a tile with two VXM engines: a head each period.

The heads come in groups. The beats of the VXM, with two heads in a group::

    EXP2 of heads 0, 1 | results of head 0 | EXP2 of 2 | results of 1 | EXP2 of 3 | results of 2 | ...

The EXP2 of the first group come one after another. Those of a later group stand between the results of the
group before, since the VXM takes one beat a cycle. A product begins when the first of its exponentials are
written, and a group no earlier than a period behind the last head before it.
"""

from dataclasses import dataclass

import numpy as np

from ...hdl.scalars.scalars import Scalars
from ...hdl.spec.config import Config
from ...hdl.spec.isa import Op
from ...hdl.timing import mxm_beat, next_issue, vxm_beat
from ...hdl.vxm.vxm import Vxm
from .cycles import Cycles, fitted
from .distances import stream_offset

TYPICAL_POSITIONS = 256
"""The pace is chosen for the fewest cycles at the positions below this one."""
MOST_GROUPS = 4
"""Groups of heads; each takes some ten instructions."""
MOST_TURNS = 6
"""Periods between an EXP2 and its head's result in a rolling pace: more make no pace quicker."""
SLOWER = 1 << 32
"""Cycles that are added to those of a pace where it must not be taken."""


@dataclass(frozen=True)
class Head:
    """The cycles that a head takes, and the number of heads and of KV heads.

    `scores`, `powers`, `inner`: for each block, for its scores, for its EXP2, and for each dot product with
    its values. `groups`: MXM results (of cols values) in the output of a head. `beats`: of the MXM
    for a word of exponentials.
    """

    count: int
    kv_heads: int
    scores: int
    powers: int
    inner: int
    groups: int
    beats: int


@dataclass(frozen=True)
class Pace:
    """When the heads come. Distances count from issue to issue.

    size     heads of a group; the last may have fewer
    period   cycles from one head to the next
    lead     from the EXP2 of the first group to its product with the values
    behind   from the VXM that takes a group's results to the EXP2 of the next group: constant; in addition, for each
             block come the `groups` - 1 dot products of a head
    follow   from the EXP2 of a later group to its product with the values
    rolling  there is one group, and a period lies between its EXP2, too: each result stands in a gap between two of them
    """

    size: int
    period: Cycles
    lead: Cycles
    behind: int
    follow: Cycles
    rolling: bool = False

    def cycles(self, config: Config, head: Head, blocks: np.ndarray) -> np.ndarray:
        """Cycles of all heads with these numbers of blocks, but for what does not depend on the pace: without those that
        instructions take to issue."""
        groups = -(-head.count // self.size) - 1
        lead, period, follow = (np.array([each.at(count) for count in blocks.tolist()])
                                for each in (self.lead, self.period, self.follow))
        later = self.behind + take_distance(config) + head.groups * head.inner * blocks
        return lead + (head.count - groups * self.size) * period + groups * (later + follow)


def paces_of(config: Config, head: Head, blocks: int, rolling: bool) -> list[Pace]:
    """The paces that there are in a context of so many blocks; with `rolling` also those that suit a range of it only."""
    sizes = range(-(-head.count // MOST_GROUPS), head.count + 1)
    found = [_pace(config, head, size, blocks) for size in sizes if _divides(head, size)]
    if rolling and head.groups == 1:
        found += [_rolling(config, head, turns, blocks) for turns in range(1, min(head.count, MOST_TURNS + 1))]
    return found


def ranges_of(cycles: np.ndarray, most: int, saved: np.ndarray, least: float) -> list[tuple[int, int]]:
    """The ranges of numbers of blocks, and the pace of each, that take the fewest cycles: at most so many (first number of
    blocks, number of the pace), in ascending order. Each range saves `least` cycles in the mean, and with no number of
    blocks do they take more cycles than with the one pace that suits all best.

    `cycles`: int64 [paces, n], of each pace with 1 to n blocks. `saved`: int64 [n], cycles that each number of blocks of
    a range takes less, if the range begins with 1 to n blocks.
    """
    typical, one = cycles.shape[1], cycles[cycles.sum(axis=1).argmin()]
    cycles = np.where(cycles > one, cycles + SLOWER, cycles)
    before = np.pad(np.cumsum(cycles, axis=1), ((0, 0), (1, 0)))
    # The fewest cycles up to each number of blocks, and the ranges that take them, at first one.
    found = [(int(total), [(1, int(paces.argmin()))]) for total, paces in zip(before.min(axis=0), before.T, strict=True)]
    best = found[-1]
    for _ in range(most - 1):
        longer = []
        for end in range(typical + 1):
            ways = [found[end]]
            for start in range(1, end):
                rest = before[:, end] - before[:, start]
                less = int(saved[start]) * (end - start)
                ways.append((found[start][0] + int(rest.min()) - less, [*found[start][1], (start + 1, int(rest.argmin()))]))
            longer.append(min(ways, key=lambda way: way[0]))
        found = longer
        if best[0] - found[-1][0] < least * typical:
            break
        best = found[-1]
    return best[1]


def _divides(head, size):
    """Whether an MXM can go through the KV heads of each group of so many heads: it begins with the first KV
    head again, or comes to no KV head again."""
    starts = range(0, head.count, size)
    return all(start % head.kv_heads == 0 or start % head.kv_heads + min(size, head.count - start) <= head.kv_heads
               for start in starts)


def take_distance(config: Config) -> int:
    """Cycles from the issue of an MXM to that of the VXM that takes its results, but for the beats of a
    result."""
    return stream_offset(config, 0)


def _pace(config, head, size, most):
    """The pace with groups of a size, for 1 to `most` blocks."""
    apart, take, latest = config.beats_per_result, take_distance(config), Scalars.LATENCY + 1
    blocks = np.arange(1, most + 1)
    powers, inner = head.powers * blocks, head.inner * blocks
    result = np.maximum(inner, apart)
    more = head.count > size
    # From an EXP2 to the product that reads what it writes, and to the VXM that multiplies by the reciprocal of its sum.
    written = np.maximum(config.granules_per_word, powers - inner + head.beats)
    read = Vxm.latency(config) + written + vxm_beat(config) - mxm_beat(config)
    divided = powers + Vxm.reduce_latency(config) + latest
    nops = bin((head.groups - 1) * head.inner).count("1")
    behind = max(next_issue(config, Op.VXM) + nops * next_issue(config, Op.NOP),
                 int(((head.groups - 1) * (result - inner)).max()) + apart)
    after = behind + (head.groups - 1) * inner
    least = np.max([head.groups * result, np.full(most, latest), (after + powers) * more], axis=0)
    period = fitted(least, (head.groups - 1) * head.inner + (max(head.powers, head.inner) if more else head.inner))
    periods = np.array([period.at(count) for count in blocks])
    last = (size - 1) * (powers - periods)
    first_take = inner + take
    lead = np.max([read, read + last, size * powers - first_take, divided - first_take, divided + last - first_take], axis=0)
    follow = np.max([read, divided - first_take, size * periods - first_take - after], axis=0)
    slope = max(0, head.powers - head.inner)
    return Pace(size, period, fitted(lead, max(slope, size * head.powers - head.inner)), behind,
                fitted(follow, max(slope, size * period.per_block - head.groups * head.inner)))


def _rolling(config, head, turns, most):
    """The rolling pace in which the result of a head comes in the gap behind the EXP2 of the head `turns` later, for 1 to
    `most` blocks."""
    apart, latest, blocks = config.beats_per_result, Scalars.LATENCY + 1, np.arange(1, most + 1)
    powers, inner = head.powers * blocks, head.inner * blocks
    written = np.maximum(config.granules_per_word, powers - inner + head.beats)
    read = Vxm.latency(config) + written + vxm_beat(config) - mxm_beat(config)
    # From an EXP2 to the VXM that takes its head's result lie `turns` periods and the head's EXP2.
    needed = np.maximum(read + inner + take_distance(config), powers + Vxm.reduce_latency(config) + latest) - powers
    least = np.max([powers + apart, np.maximum(inner, apart), np.full(most, latest), -(-needed // turns)], axis=0)
    period = fitted(least, max(head.powers, head.inner))
    lead = Cycles(turns * period.base - take_distance(config), turns * period.per_block + head.powers - head.inner,
                  turns * period.least - take_distance(config))
    return Pace(head.count, period, lead, 0, Cycles(), True)
