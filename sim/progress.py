"""Lines on stderr for people: what is done, and on a terminal how long it will take."""

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
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


@contextmanager
def progress(text: str, expected_s: float | None = None, *, below: bool = False) -> Iterator[None]:
    """Counts seconds on stderr while the `with` block works, beside those that it is expected to
    take, if that is known.

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
        first, known = not line, "" if expected_s is None else f" of about {expected_s:.0f}"
        line = f"{text}: {time.monotonic() - begun:.0f} s{known}"[:shutil.get_terminal_size().columns - 1]
        print(f"{_ROW_BELOW * (below and first)}{before}{line}{after}", end="", file=sys.stderr, flush=True)
        wait_s = _PERIOD_S
    if line:
        gone = "" if below else f"{' ' * len(line)}\r"
        print(f"{before}{gone}{after}", end="", file=sys.stderr, flush=True)
