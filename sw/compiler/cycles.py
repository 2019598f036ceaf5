"""Numbers of cycles that depend on the number of blocks of the KV cache."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Cycles:
    """max(`least`, `base` + `per_block` * blocks) cycles, where a block is `Config.block`
    positions."""

    base: int = 0
    per_block: int = 0
    least: int = 0

    def at(self, blocks: int) -> int:
        """The number of cycles for a number of blocks."""
        return max(self.least, self.base + self.per_block * blocks)

    def times(self, count: int) -> "Cycles":
        """`count` times these cycles."""
        return Cycles(self.base * count, self.per_block * count, self.least * count)

    def __add__(self, other: "Cycles") -> "Cycles":
        """The sum, term by term; `least` is at least 0.

        Where only one of the two is at its `least`, this may differ from the sum of their cycles.
        """
        return Cycles(self.base + other.base, self.per_block + other.per_block, max(self.least + other.least, 0))


def fitted(needed: np.ndarray, per_block: int) -> Cycles:
    """The least `Cycles` that rise by `per_block` and are no smaller than `needed`: int64 [n], for 1 to n
    blocks."""
    rising = per_block * np.arange(1, len(needed) + 1)
    # From some number of blocks on they rise, and `base` is enough there; before it `least` is.
    base = np.maximum.accumulate((needed - rising)[::-1])[::-1]
    least = np.concatenate([[0], np.maximum.accumulate(needed)[:-1]])
    first = np.maximum(least[:, None], base[:, None] + rising).sum(axis=1).argmin()
    return Cycles(int(base[first]), per_block, int(least[first]))


def straight(needed: np.ndarray) -> Cycles:
    """`Cycles` without `least` that are no smaller than `needed`, which rises ever faster: int64 [n], for 1 to n blocks.
    They are equal to it with one block, and rise as little as they can."""
    per_block = -(-int(needed[-1] - needed[0]) // max(len(needed) - 1, 1))
    return Cycles(int(needed[0]) - per_block, per_block)
