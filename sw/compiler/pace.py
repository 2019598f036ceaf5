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
    """

    size: int
    period: Cycles
    lead: Cycles
    behind: int
    follow: Cycles


def pace_of(config: Config, head: Head, blocks: int) -> Pace:
    """The pace that takes the fewest cycles in the typical part of a context of so many blocks."""
    typical = min(blocks, -(-TYPICAL_POSITIONS // config.block))

    def cycles(pace):
        """Cycles of all heads, but for what does not depend on the pace."""
        counts, groups = range(1, typical + 1), -(-head.count // pace.size) - 1
        later = Cycles(pace.behind + take_distance(config), head.groups * head.inner)
        return sum(pace.lead.at(count) + (head.count - groups * pace.size) * pace.period.at(count)
                   + groups * (later.at(count) + pace.follow.at(count)) for count in counts)

    sizes = range(-(-head.count // MOST_GROUPS), head.count + 1)
    return min((_pace(config, head, size, blocks) for size in sizes if _divides(head, size)), key=cycles)


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
