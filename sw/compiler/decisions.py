"""The decisions of timelines, so that a model is scheduled once, and not again when its integers are known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..quant.outline import Outline


class Decisions:
    """Which of a step's choices timelines have taken, for one program after another.

    `made`: the numbers of the choices, in the order of the steps that have several. `known`: those of a program with the
    same steps, which are taken without a search.
    """

    def __init__(self, known: Sequence[int] = ()):
        self.made: list[int] = []
        self._known = known

    def take(self, search: Callable[[], int]) -> int:
        """The number of the next choice: the known one, or else the result of `search`."""
        at = len(self.made)
        self.made.append(self._known[at] if at < len(self._known) else search())
        return self.made[-1]


@dataclass
class Scheduled:
    """An outline that was scheduled, with room for so many positions (`context`), and the decisions that were made."""

    outline: Outline
    context: int
    decisions: Decisions = field(default_factory=Decisions)

    def again(self, outline: Outline, context: int) -> Decisions:
        """The decisions for another outline: the known ones, if its steps are the same but for shifts, else none."""
        same = all(getattr(outline, name) == getattr(self.outline, name) for name in (
            "config", "graph", "groups", "uniform", "balanced"))
        return Decisions(self.decisions.made if same and context == self.context else ())
