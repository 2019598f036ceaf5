"""A line on a terminal that says that work goes on, and how long it will take."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

DELAY_S = 2.0
"""Work that is done sooner shows nothing."""

_PERIOD_S = 1.0


@contextmanager
def progress(text: str, expected_s: float) -> Iterator[None]:
    """Counts seconds on stderr while the `with` block works, beside those that it is expected to
    take.

    The line appears after `DELAY_S` seconds and goes away at the end. Nothing is shown if stderr is
    no terminal.
    """
    if not sys.stderr.isatty():
        yield
        return
    ended = threading.Event()
    shower = threading.Thread(target=_show, args=(text, expected_s, ended), daemon=True)
    shower.start()
    try:
        yield
    finally:
        ended.set()
        shower.join()


def _show(text, expected_s, ended):
    begun, line, wait_s = time.monotonic(), "", DELAY_S
    while not ended.wait(wait_s):
        line = f"{text}: {time.monotonic() - begun:.0f} s of about {expected_s:.0f}"
        print(f"\r{line}", end="", file=sys.stderr, flush=True)
        wait_s = _PERIOD_S
    if line:
        print(f"\r{' ' * len(line)}\r", end="", file=sys.stderr, flush=True)
