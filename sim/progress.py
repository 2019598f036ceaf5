"""Lines on stderr for people: what is done, and on a terminal how long it will take."""

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

DELAY_S = 2.0
"""Work that is done sooner shows nothing."""

_PERIOD_S = 1.0

_SAVE, _RESTORE, _ERASE_LINE = "\x1b7", "\x1b8", "\x1b[K"
_ROW_BELOW = "\x1bD\x1b[A"
"""Makes sure that there is a row below the cursor's: moves down, which scrolls in the last row, and up again."""


def say(line: str) -> None:
    """Prints a line on stderr, if there is one."""
    if sys.stderr is not None:
        print(line, file=sys.stderr, flush=True)


def on_terminal() -> bool:
    """Whether stderr is a terminal, on which progress is shown."""
    return sys.stderr is not None and sys.stderr.isatty()


class Share:
    """How much of a piece of work is done: `expected_s()` is the time that all of it takes, if it goes on as fast.

    Parameters: `total`, its size in any unit; `first_s`, the time that it is expected to take while nothing is done yet.
    Attributes: `done`, in the same unit.
    """

    def __init__(self, total: float, first_s: float | None = None):
        self.done = 0
        self._total, self._first_s, self._begun = total, first_s, time.monotonic()

    def expected_s(self) -> float | None:
        if not self.done:
            return self._first_s
        return (time.monotonic() - self._begun) * self._total / self.done


@contextmanager
def progress(text: str, expected_s: float | Callable[[], float | None] | None = None, *,
             below: bool = False) -> Iterator[None]:
    """Counts seconds on stderr while the `with` block works, beside those that it is expected to
    take, if that is known. `expected_s` may be a function, which is asked again for each line.

    The line appears after `DELAY_S` seconds and goes away at the end. With `below` it is in the row
    below the cursor's, and the cursor stays where it is, in an unfinished line of text. Nothing is
    shown if stderr is no terminal.
    """
    if not on_terminal() or (below and os.environ.get("TERM", "dumb") == "dumb"):
        yield
        return
    ended = threading.Event()
    shower = threading.Thread(target=_show, args=(text, expected_s, below, ended), daemon=True)
    shower.start()
    try:
        yield
    finally:
        ended.set()
        shower.join()


def _show(text, expected_s, below, ended):
    begun, line, wait_s = time.monotonic(), "", DELAY_S
    before, after = (f"{_SAVE}\r\n{_ERASE_LINE}", _RESTORE) if below else ("\r", "")
    while not ended.wait(wait_s):
        first, wanted_s = not line, expected_s() if callable(expected_s) else expected_s
        known = "" if wanted_s is None else f" of about {wanted_s:.0f}"
        line = f"{text}: {time.monotonic() - begun:.0f} s{known}"[:shutil.get_terminal_size().columns - 1]
        print(f"{_ROW_BELOW * (below and first)}{before}{line}{after}", end="", file=sys.stderr, flush=True)
        wait_s = _PERIOD_S
    if line:
        gone = "" if below else f"{' ' * len(line)}\r"
        print(f"{before}{gone}{after}", end="", file=sys.stderr, flush=True)
