"""The common part of the simulated backends: the clock runs only while somebody waits for an
answer."""

from abc import ABC, abstractmethod
from time import perf_counter

import numpy as np

from ..hdl.spec.config import Config
from ..hdl.spec.errors import MareyError


class BackendError(MareyError):
    """A backend cannot be used: a tool is missing, a build failed, or the simulation is closed."""

    exit_code = 1


class ScheduleFault(BackendError):
    """An assertion of the design failed in simulation. The simulation is closed then."""


QUIET = 2048
"""Clock cycles without a word after which `drain` ends, unless another number is asked for."""


def quiet_cycles(config: Config) -> int:
    """Clock cycles without a word after which a tile of a configuration has surely given up a
    broken frame."""
    return 2 * config.link_timeout


class Simulation(ABC):
    """A `Transport` to a simulated design.

    The design's ports are `rx: In(stream.Signature(32))` and `tx: Out(stream.Signature(32))`.
    `send` queues words, and takes no clock cycle. The clock runs in `receive` and `drain` only: in
    each of their cycles the oldest queued word is offered on `rx`, and `tx` is ready. So two
    simulators of one design count the same cycles if they get the same calls.

    Parameters: `patience`, clock cycles without an answer word after which `receive` gives up;
    `quiet`, clock cycles without a word in either direction after which `drain` ends.

    `receive` and `drain` raise ScheduleFault, with the assertion's message, in the cycle in which
    an assertion of the design fails, and close the simulation. All methods raise BackendError if
    the simulation is closed.
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
        """Simulated clock cycles a second, over the time spent in `receive` and `drain`; None at
        first."""
        return self.cycles / self._seconds if self._seconds else None

    def send(self, words: np.ndarray) -> None:
        """Queues uint32 words, shape [n]."""
        self._check_open()
        self._send(np.ascontiguousarray(words, np.uint32))

    def receive(self, count: int) -> np.ndarray:
        """The next `count` answer words, uint32 [count]; fewer after `patience` cycles without
        one."""
        return self._timed(self._receive, count)

    def drain(self) -> None:
        """Lets the queued words in and drops the answers, until `quiet` cycles pass without a
        word."""
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
