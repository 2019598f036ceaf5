"""A serial port as a backend: a board at the other end, or a virtual one."""

import errno
import time

import numpy as np
import serial
from serial.tools import list_ports

from .simulation import BackendError

BAUD = 3_000_000
"""Of boards whose bridge takes it, and what is tried unless another rate is asked for."""

PATIENCE = 10.0
"""Seconds without a byte after which a port is given up; before anything ever came, a fifth of them."""

_CHUNK = 256
"""Bytes that the port is given at once, each time with all patience: a virtual board takes them at its own pace."""

QUIET = 0.05
"""Seconds of silence that `drain` waits for: longer than the link's own (`marey.hdl.serial`), and than a USB bridge holds
bytes back."""


class PortError(BackendError):
    """A port that is not there, cannot be opened, or is gone."""


class PortTransport:
    """A `Transport` over a serial port, 8N1: words as four bytes, least significant first.

    `patience`: seconds without a byte, either way, after which it is given up. PortError, in one line, if the port
    cannot be had, or is lost later; nothing waits for ever.
    """

    cycles = None
    simulated_hz = None

    def __init__(self, port: str, baud: int = BAUD, patience: float = PATIENCE):
        self._name, self._patience, self._heard = port, patience, False
        try:
            self._port = serial.Serial(port, baud, timeout=0, write_timeout=patience, exclusive=True)
        except (OSError, ValueError) as error:
            raise PortError(_why_not(port, baud, error)) from None

    def send(self, words: np.ndarray) -> None:
        data = np.asarray(words, "<u4").tobytes()
        for start in range(0, len(data), _CHUNK):
            self._guarded(self._port.write, data[start:start + _CHUNK])

    def receive(self, count: int) -> np.ndarray:
        data = self._read(4 * count, self._patience if self._heard else self._patience / 5)
        return np.frombuffer(data[:len(data) // 4 * 4], "<u4").astype(np.uint32)

    def drain(self) -> None:
        while self._read(1 << 16, QUIET):
            pass

    def close(self) -> None:
        self._port.close()

    def _read(self, count, patience):
        """Up to `count` bytes; fewer after `patience` seconds without one."""
        data, last = bytearray(), time.monotonic()
        while len(data) < count and (left := last + patience - time.monotonic()) > 0:
            if more := self._guarded(self._some, count - len(data), left):
                data += more
                last, self._heard = time.monotonic(), True
        return bytes(data)

    def _some(self, most, patience):
        """The first byte within so many seconds, and those that are there with it."""
        self._port.timeout = patience
        return self._port.read(1) + self._port.read(min(self._port.in_waiting, most - 1))

    def _guarded(self, work, *arguments):
        try:
            return work(*arguments)
        except serial.SerialTimeoutException:
            raise PortError(f"{self._name} takes no more bytes: is the board still there?") from None
        # A port that goes away makes pyserial raise almost anything, TypeError included.
        except (OSError, TypeError, ValueError):
            self._port.close()
            raise PortError(f"{self._name} is gone: plug the cable in and start again") from None


def _why_not(port, baud, error):
    """One line about a port that could not be opened."""
    code = getattr(error, "errno", None)
    if isinstance(error, ValueError):
        return f"{port} cannot be set to {baud} baud: choose another with --baud"
    if code in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        there = ", ".join(sorted(found.device for found in list_ports.comports())) or "none"
        return f"there is no port {port}: plug the board in, or name another with --port; there are: {there}"
    if code in (errno.EAGAIN, errno.EBUSY):
        return f"{port} is in use: close the other program that has it open"
    if code in (errno.EACCES, errno.EPERM):
        return f"{port} may not be opened: its group, often dialout, must have you as a member"
    return f"{port} is no serial port: name one with --port"
