"""Ranges of positions, each with a schedule of its own in a program.

The cycles of attention grow with the position, and no order of instructions is the best one at all positions. So a resident
program may have the token several times. `entries` are [(first position, first instruction)], in ascending order. A run begins
with the instruction of its range and stays in it; the host starts another run for the next range.
"""

from collections.abc import Sequence
from itertools import pairwise

Entries = tuple[tuple[int, int], ...]
ONE: Entries = ((0, 0),)
"""The entries of a program with one schedule for all positions."""


def entry_of(entries: Entries, position: int) -> int:
    """The first instruction of a run that begins at a position."""
    return next(entry for first, entry in reversed(entries) if first <= position)


def parts_of(entries: Entries, position: int, count: int) -> list[tuple[int, int]]:
    """[(first position, tokens)] of the runs that make `count` tokens, the first at a position. With `count` 0, which takes a
    token of a prompt, it is one run."""
    end = position + max(count, 1)
    cuts = [position, *(first for first, _ in entries if position < first < end), end]
    return [(first, min(later - first, count)) for first, later in pairwise(cuts)]


def spans_of(entries: Entries, context: int) -> list[tuple[int, int, int]]:
    """[(first position, the position after the last, first instruction)] of each range, in a context of so many positions."""
    ends = [first for first, _ in entries[1:]] + [context]
    return [(first, end, entry) for (first, entry), end in zip(entries, ends, strict=True)]


def read_entries(listed: Sequence[Sequence[int]], instructions: int, context: int) -> Entries:
    """Entries as a file lists them, of a program with so many instructions. ValueError if they cannot be a program's."""
    entries = tuple((int(first), int(entry)) for first, entry in listed)
    firsts = [first for first, _ in entries]
    if firsts[:1] != [0] or firsts != sorted(set(firsts)) or firsts[-1] > max(context - 1, 0):
        raise ValueError("entries")
    if not all(0 <= entry < max(instructions, 1) for _, entry in entries):
        raise ValueError("entries")
    return entries
