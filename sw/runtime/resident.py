"""The runner of a resident program, whose weights are all on the tile: one run makes one token, or several."""

from collections.abc import Callable

import numpy as np

from ..program.program import Program
from .session import Session


class ResidentRunner:
    """Makes tokens with a program that is all on the tile."""

    def __init__(self, session: Session, program: Program):
        self._session, self._program = session, program

    def tokens(self, token: int, position: int, count: int, show: Callable[[int], None]) -> list[int]:
        """Starts with a token at a position and makes `count` more, all in one run; `show` gets each when it is made.

        With `count` 0 the token is taken into the KV cache and none is made.
        """
        return self._session.execute(self._program, token=token, position=position, count=count, show=show)

    def logits(self) -> np.ndarray:
        """The integer logits, int16 [vocab], of the token that was run last."""
        facts = self._program.model
        return self._session.read_mem(facts.logits, facts.shape.vocab_size)
