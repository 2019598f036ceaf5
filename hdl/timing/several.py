"""Numbers of one run, or of several runs that are walked together: an int, or int64 [runs]."""

from collections.abc import Sequence

import numpy as np

Number = int | np.ndarray
"""A number that is the same in all runs, or one for each run."""


def in_any(found: bool | np.ndarray) -> bool:
    """Whether something is so in at least one of the runs."""
    return bool(found.any()) if isinstance(found, np.ndarray) else bool(found)


def equal(one: Number, other: Number) -> bool:
    """Whether two numbers are equal in all runs."""
    same = one == other
    return bool(same.all()) if isinstance(same, np.ndarray) else bool(same)


def larger(one: Number, other: Number) -> Number:
    """The larger one of two numbers, run by run."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.maximum(one, other)
    return max(one, other)


def in_run(number: Number, run: int) -> int:
    """A number as it is in one of the runs."""
    return int(number[run]) if isinstance(number, np.ndarray) else number


def in_runs(numbers: Sequence[int]) -> Number:
    """Numbers of the runs as one; an int if all are equal."""
    return np.array(numbers, np.int64) if len(set(numbers)) > 1 else numbers[0]
