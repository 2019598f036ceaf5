"""The gaps of the MXM: cycles in which no beat enters it, and what it waits for."""

from dataclasses import dataclass

import numpy as np

from ...hdl.timing import Unit
from ..program.program import Program
from .entries import Entry

NEAR = 2
"""Cycles. If an entry could begin at most so many cycles earlier without breaking a dependence, the
dependence counts as the cause of its gap."""


@dataclass(frozen=True)
class Gap:
    """Consecutive cycles, `start` to `end` - 1, in which no beat enters the MXM.

    `cause`: "data" (the next product waits for a value), "structure" (it waits for a unit that is in
    use) or "fill" (pipelines fill or drain, or the sequencer computes). `waits_for`: the same in
    more words. `before`: the entry whose beat ends the gap, or None at the end of a token.
    """

    start: int
    end: int
    cause: str
    waits_for: str
    before: Entry | None = None


def gaps(program: Program, token: list[Entry], begin: int, end: int) -> list[Gap]:
    """The MXM's gaps in one token, whose entries are `token`, in the cycles from `begin` to `end` -
    1."""
    waits = _waits(program.config, token)
    takers = {int(taken[0]): index for index, entry in enumerate(token) if (taken := entry.cycles(Unit.STREAM)).size}
    found, free = [], begin
    for index, entry in enumerate(token):
        beats = entry.cycles(Unit.MXM_BEAT)
        if not beats.size:
            continue
        if beats[0] > free:
            # A product waits for its own inputs and units, and for those of the VXM instruction that takes
            # its results.
            results = entry.cycles(Unit.DRAIN)
            both = [waits[index], waits[takers[int(results[0])]]] if results.size else []
            slack, cause, what = min((wait for pair in both for wait in pair), default=(NEAR + 1, "fill", ""))
            if slack > NEAR:
                cause, what = "fill", "pipeline, or the sequencer's own arithmetic"
            found.append(Gap(free, int(beats[0]), cause, what, entry))
        breaks = np.flatnonzero(np.diff(beats) > 1)
        found += [Gap(int(beats[at]) + 1, int(beats[at + 1]), "structure", "the VXM takes a result's granules", entry)
                  for at in breaks]
        free = int(beats[-1]) + 1
    if end > free:
        found.append(Gap(free, end, "fill", "the last results come through, and the token is chosen"))
    return found


def _waits(config, token):
    """For each entry ((slack, "data", writer), (slack, "structure", user)).

    A slack is the number of cycles by which the entry could be earlier: before it would read a value
    that is not written yet, and before it would use a unit that is still in use. `writer` and `user`
    name the entries that it waits for.
    """
    written, used, found = {}, {}, []
    for entry in token:
        data, structure = (1 << 30, "data", ""), (1 << 30, "structure", "")
        for use in entry.uses:
            access = use.unit.access
            if access and not access.writes and access.memory in written:
                cycles, writers = written[access.memory]
                entries = use.entries(config)
                known = entries < len(cycles)
                slack = (np.repeat(use.cycles, use.entries_per_cycle(config))[known] - cycles[entries[known]] - 1)
                if slack.size:
                    at = int(slack.argmin())
                    data = min(data, (int(slack[at]), "data", writers[entries[known][at]]))
            if (rival := use.unit.rival) in used:
                last, who = used[rival]
                if use.cycles[0] > last:
                    structure = min(structure, (int(use.cycles[0] - last - 1), "structure", f"{who}: {rival.label}"))
        for use in entry.uses:
            access = use.unit.access
            if access and access.writes:
                entries = use.entries(config)
                cycles, writers = written.setdefault(access.memory, (np.empty(0, np.int64), np.empty(0, object)))
                if (more := int(entries.max()) + 1 - len(cycles)) > 0:
                    cycles = np.concatenate([cycles, np.full(more, -1 << 30)])
                    writers = np.concatenate([writers, np.full(more, "", object)])
                cycles[entries], writers[entries] = np.repeat(use.cycles, use.entries_per_cycle(config)), entry.name
                written[access.memory] = cycles, writers
            if use.unit.rival:
                used[use.unit] = max(used.get(use.unit, (-1, "")), (int(use.cycles[-1]), entry.name))
        found.append((data, structure))
    return found
