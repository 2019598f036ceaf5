"""Progress of a generation on a terminal: which token is being computed, and how long that will take."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ...sim.progress import on_terminal, progress
from ..program.program import Program


class Pace:
    """Shows a line below the text for each token that takes over two seconds: on slow simulators, boards with a slow line,
    and for large models.

    The cycles of a token are known beforehand; the seconds of a cycle are measured on the tokens before it.

    Parameters: `program`, which is loaded; `simulated_hz`, clock cycles a second until now, or None if that is not known.
    """

    def __init__(self, program: Program, simulated_hz: float | None):
        self._program = program
        self._seconds_per_cycle = 1 / simulated_hz if simulated_hz else None
        self._seconds = self._cycles = 0

    @contextmanager
    def __call__(self, position: int, prompt_count: int) -> Iterator[None]:
        """The token at a position is computed in the `with` block; `prompt_count` is the number of tokens of the prompt."""
        if not on_terminal():
            yield
            return
        begun = time.monotonic()
        run = next(self._program.prompt_runs(position, prompt_count - 1), None)
        cycles = run.cycles if run else self._program.cycles(position)
        made = position - prompt_count + 2
        what = f"token {made}" if made > 0 else f"token {position + 1} of the {prompt_count} of the prompt"
        expected_s = None if self._seconds_per_cycle is None else cycles * self._seconds_per_cycle
        with progress(f"{what}, {cycles:,} cycles", expected_s, below=True):
            yield
        self._seconds += time.monotonic() - begun
        self._cycles += cycles
        self._seconds_per_cycle = self._seconds / self._cycles
