"""The clock of the process, which all tests share: a test that set it once let the thread of a server wait for hours."""

import re
from pathlib import Path

SET = re.compile(r"""setattr\((\w+\.)*time, |(setattr|patch)\(["'](\w+\.)*time\.\w""")


def test_no_test_sets_the_clock():
    """A test replaces the name `time` in the module that it tests, not a function of the module `time`."""
    others = [file for file in Path(__file__).parent.rglob("*.py") if file != Path(__file__)]
    assert [file.name for file in others if SET.search(file.read_text())] == []
    assert SET.search('monkeypatch.setattr(progress.time, "monotonic", 0)') and SET.search('patch("time.sleep")')
