"""What the simulated backends have in common: a link whose clock runs only while somebody waits for an answer."""

from abc import ABC, abstractmethod
from time import perf_counter

import numpy as np

from ..hdl.spec.config import Config
from ..hdl.spec.errors import MareyError


class BackendError(MareyError):
    """A backend that cannot be had or used: a missing tool, a failed build, a closed simulation."""

    exit_code = 1


class ScheduleFault(BackendError):
    """An assertion of the design failed in simulation, which ends there."""


QUIET = 2048
"""Clock cycles of silence after which `drain` holds the link to be at rest."""


def quiet_cycles(config: Config) -> int:
    """Clock cycles of silence after which a tile gives up a broken frame for certain."""
    return 2 * config.link_timeout


class Simulation(ABC):
    """A `Transport` to a design in simulation, whose ports are `rx: In(stream.Signature(32))` and
    `tx: Out(stream.Signature(32))`.

    `send` queues words, in no time. The clock runs in `receive` and `drain`; in every cycle of theirs the
    oldest queued word is offered on `rx`, and `tx` is ready. Two simulators of one design that are given the
    same calls therefore count the same cycles.

    Parameters: `patience`, cycles without an answer word after which `receive` gives up; `quiet`, cycles
    without a word either way after which `drain` does.

    `ScheduleFault` is raised, by `receive` or `drain`, in the cycle in which an assertion of the design fails,
    with the assertion's message; the simulation is then closed. `BackendError`: it was closed before.
    """

    def __init__(self, patience: int, quiet: int):
        self.patience = patience
        self.quiet = quiet
        self._seconds = 0.0
        self._closed = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    @abstractmethod
    def cycles(self) -> int:
        """Clock cycles simulated so far."""

    @property
    def simulated_hz(self) -> float | None:
        """Clock cycles a second, over the time spent simulating; None before the first."""
        return self.cycles / self._seconds if self._seconds else None

    def send(self, words: np.ndarray) -> None:
        """Queues uint32 words, shape [n]."""
        self._check_open()
        self._send(np.ascontiguousarray(words, np.uint32))

    def receive(self, count: int) -> np.ndarray:
        """The next `count` answer words, uint32 [count]; fewer when `patience` cycles passed without one."""
        return self._timed(self._receive, count)

    def drain(self) -> None:
        """Lets what was sent go in and throws away what comes out, until neither happens for `quiet` cycles."""
        self._timed(self._drain)

    def close(self) -> None:
        """Ends the simulation. Closing twice is no error."""
        if not self._closed:
            self._closed = True
            self._close()

    def _check_open(self):
        if self._closed:
            raise BackendError("the simulation is closed: open another")

    def _timed(self, work, *arguments):
        self._check_open()
        before = perf_counter()
        try:
            return work(*arguments)
        except ScheduleFault:
            self.close()
            raise
        finally:
            self._seconds += perf_counter() - before
