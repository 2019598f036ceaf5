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
        """Starts with a token at a position and makes `count` more, in one run for each range of positions that has a
        schedule of its own; `show` gets each when it is made.

        With `count` 0 the token is taken into the KV cache and none is made.
        """
        made = []
        for first, part in self._program.parts(position, count):
            last = made[-1] if made else token
            made += self._session.execute(self._program, token=last, position=first, count=part, show=show)
        return made

    def logits(self) -> np.ndarray:
        """The integer logits, int16 [vocab], of the token that was run last."""
        facts = self._program.model
        return self._session.read_mem(facts.logits, facts.shape.vocab_size)
