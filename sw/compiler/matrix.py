"""The place of a matrix in W-RAM."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Matrix:
    """The place and size of a matrix in W-RAM.

    `word`: its first word, counted from the layer's first. `inner`: words for each result (inputs /
    rows). `results`: number of results, each of cols outputs. `groups`: of inputs, each with its own
    factors. `halves`: words that a word of the inputs meets: 2 if weights of 8 bits lie in two halves of 4 bits,
    else 1. `beats`: beats in which it meets them, see `Config.wide_beats`.
    `first`: words of the first half of the inputs, if these are in two halves with
    factors of their own; else 0.
    """

    word: int
    inner: int
    results: int
    groups: int = 1
    halves: int = 1
    beats: int = 1
    first: int = 0

    @property
    def words(self) -> int:
        """W-RAM words of the matrix."""
        return self.inner * self.results * self.halves

    @property
    def group_inner(self) -> int:
        """Words of a group's inputs for each result; of the second half, if inputs are in two."""
        return self.inner - self.first if self.first else self.inner // self.groups

    @property
    def rate(self) -> int:
        """Cycles from one result to the next."""
        return self.group_inner * self.beats
