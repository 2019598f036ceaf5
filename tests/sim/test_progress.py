"""Work that takes long says so on a terminal, and nowhere else."""

import io
import sys
import time

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
