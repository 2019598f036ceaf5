"""Sequences of vectors, and their heads, as attention reads them."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sequences:
    """The shape of `batch` sequences of `length` vectors, whose rows lie sequence by sequence."""

    batch: int
    length: int

    def by_head(self, x: np.ndarray, heads: int) -> np.ndarray:
        """Rows [batch * length, heads * size] as [batch, heads, length, size]."""
        return x.reshape(self.batch, self.length, heads, -1).swapaxes(1, 2)

    def by_row(self, x: np.ndarray) -> np.ndarray:
        """[batch, heads, length, size] as rows [batch * length, heads * size]."""
        return x.swapaxes(1, 2).reshape(self.batch * self.length, -1)

    @property
    def seen(self) -> np.ndarray:
        """Which positions each one sees, itself and those before: bool [length, length]."""
        return np.tri(self.length, dtype=bool)
