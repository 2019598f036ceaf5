"""What became of a mutation."""

from dataclasses import dataclass

import pytest

PYTEST = ["-x", "-q", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:unraisableexception"]
"""Options of pytest, with which it ends at the first test that fails."""


FUZZ_PROGRAMS = 800
"""Programs that are drawn with other seeds for a mutation of hardware that no test finds."""
EQUIVALENT = "equivalent"
"""What `found_by` says of a mutation that was proved to change nothing."""


@dataclass(frozen=True)
class Result:
    """A mutation, and the check that found it, or None.

    `place`: what was mutated; `number` in its sample; `part`: the component or file; `text`: the mutation for people;
    `where`: lines of the source; `command`: what plants it.
    """

    place: str
    number: int
    part: str
    text: str
    where: str
    command: str
    found_by: str | None
    seconds: float


def first_failure(tests: list[str], marked: str = "not slow") -> str | None:
    """Runs tests, those that are not slow or that are `marked` otherwise, to the first that fails; returns its name."""
    failed = _Failed()
    status = pytest.main([*PYTEST, "-m", marked, *tests], plugins=[failed])
    return failed.name or (None if status in (0, 5) else f"pytest ended with status {int(status)}")


class _Failed:
    """A plugin of pytest that keeps the name of the first test that failed, or of a file that cannot be imported."""

    name = None

    def pytest_runtest_logreport(self, report):
        if report.failed and self.name is None:
            self.name = report.nodeid

    def pytest_collectreport(self, report):
        if report.failed and self.name is None:
            self.name = report.nodeid
