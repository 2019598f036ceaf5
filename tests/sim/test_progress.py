"""Work that takes long says so on a terminal, and nowhere else."""

import io
import re
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from marey.sim import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def seen(monkeypatch):
    """What a piece of work shows: `seen(stderr, seconds)`."""
    monkeypatch.setattr(progress, "DELAY_S", 0.1)
    monkeypatch.setattr(progress, "_PERIOD_S", 0.05)

    def work(stderr, seconds):
        monkeypatch.setattr(sys, "stderr", stderr)
        with progress.progress("building", 30):
            time.sleep(seconds)
        return stderr.getvalue()
    return work


def test_long_work_counts_its_seconds(seen):
    text = seen(Terminal(), 0.5)
    assert text.startswith("\rbuilding: 0 s of about 30\r") and text.endswith("\r") and "\n" not in text
    assert text.split("\r")[-2].strip() == ""


def test_short_work_and_other_places_show_nothing(seen):
    assert seen(Terminal(), 0) == "" and seen(io.StringIO(), 0.3) == ""


def test_a_failure_ends_it(seen, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(KeyError), progress.progress("building", 30):
        raise KeyError


def test_an_unknown_time_and_a_narrow_terminal(monkeypatch):
    monkeypatch.setattr(progress, "DELAY_S", 0)
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress.progress("a text that is wider than the terminal"):
        time.sleep(0.1)
    assert sys.stderr.getvalue() == f"\ra text that is wider\r{' ' * 19}\r".replace("wider", "wide")
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", "80")
    with progress.progress("building"):
        time.sleep(0.1)
    assert sys.stderr.getvalue().startswith("\rbuilding: 0 s\r")


def screen(written, rows=4):
    """What a terminal of some rows shows, whose cursor was in its last one: VT100's IND, CUU, DECSC, DECRC and EL."""
    lines, row, column, saved = ["" for _ in range(rows)], rows - 1, 0, None
    for code, text in re.findall(r"(\x1b(?:D|7|8|\[A|\[K)|\r|\n)|([^\x1b\r\n]+)", written):
        match code:
            case "\x1bD" | "\n" if row == rows - 1:
                lines = [*lines[1:], ""]
            case "\x1bD" | "\n":
                row += 1
            case "\x1b[A":
                row -= 1
            case "\r":
                column = 0
            case "\x1b7":
                saved = row, column
            case "\x1b8":
                row, column = saved
            case "\x1b[K":
                lines[row] = lines[row][:column]
        lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + len(text):] if text else lines[row]
        column += len(text)
    return [line.rstrip() for line in lines]


def test_below_a_text_that_goes_on(monkeypatch):
    """The text is whole afterwards, even in the last row of the screen."""
    monkeypatch.setattr(progress, "DELAY_S", 0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    terminal.write("$ marey\r\nOnce upon")
    with progress.progress("token 1", 30, below=True):
        time.sleep(0.1)
        assert screen(terminal.getvalue()) == ["", "$ marey", "Once upon", "token 1: 0 s of about 30"]
    terminal.write(" a time")
    assert screen(terminal.getvalue()) == ["", "$ marey", "Once upon a time", ""]
    monkeypatch.setenv("TERM", "dumb")
    before = terminal.getvalue()
    with progress.progress("token 2", 30, below=True):
        time.sleep(0.1)
    assert terminal.getvalue() == before


def test_an_estimate_that_learns(monkeypatch):
    """From the share that is done, as of a program that is loaded; before that from what is known of the line."""
    now = [100.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    assert progress.Share(1000).expected_s() is None
    share = progress.Share(1000, 25)
    assert share.expected_s() == 25
    now[0], share.done = 110.0, 250
    assert share.expected_s() == 40
    monkeypatch.setattr(progress, "DELAY_S", 0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress.progress("loading", share.expected_s):
        threading.Event().wait(0.1)
    assert sys.stderr.getvalue().startswith("\rloading: 0 s of about 40\r")


def test_no_stderr(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    progress.say("nobody reads this")
    with progress.progress("building", 30):
        pass
