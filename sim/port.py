"""A serial port as a backend: a board at the other end, or a virtual one."""

import errno
import os
import time

import numpy as np
import serial
from serial.tools import list_ports

from .simulation import BackendError

BAUD = 3_000_000
"""Rate of the line in bits a second, unless another is asked for. Not every USB bridge takes it."""

PATIENCE = 10.0
"""Seconds without a byte after which a port is given up; a fifth of it while no byte has come
yet."""

_CHUNK = 256
"""Bytes that are written at once. The patience is for each such write, because a virtual board is
slow to take them."""

QUIET = 0.05
"""Seconds of silence that `drain` waits for: more than the time-out of the link
(`marey.hdl.serial`), and than the time for which a USB bridge holds bytes back."""


class PortError(BackendError):
    """A port does not exist, cannot be opened, or has gone away."""


def check_port(port: str | None) -> None:
    """PortError if no port is named, or one that is surely not there. Nothing is opened."""
    if port is None:
        raise PortError("the backend serial needs the port of the board: name it with --port")
    if os.name == "posix" and not os.path.exists(port):
        raise PortError(_why_not(port, BAUD, FileNotFoundError(errno.ENOENT, "")))


class PortTransport:
    """A `Transport` over a serial port, 8N1: words as four bytes, least significant first.

    Parameters: `port`, its name; `baud`, bits a second; `patience`, seconds without a byte in
    either direction after which the port is given up. PortError if the port cannot be opened, or
    goes away later.
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
        """The next `count` bytes; fewer if no byte comes for `patience` seconds."""
        data, last = bytearray(), time.monotonic()
        while len(data) < count and (left := last + patience - time.monotonic()) > 0:
            if more := self._guarded(self._some, count - len(data), left):
                data += more
                last, self._heard = time.monotonic(), True
        return bytes(data)

    def _some(self, most, patience):
        """Waits for a byte for `patience` seconds; returns it and those that have come with it, up
        to `most`."""
        self._port.timeout = patience
        return self._port.read(1) + self._port.read(min(self._port.in_waiting, most - 1))

    def _guarded(self, work, *arguments):
        """Calls `work`; PortError if the port has gone away."""
        try:
            return work(*arguments)
        except serial.SerialTimeoutException:
            raise PortError(f"{self._name} takes no more bytes: is the board still there?") from None
        # A port that goes away makes pyserial raise almost anything, TypeError included.
        except (OSError, TypeError, ValueError):
            self._port.close()
            raise PortError(f"{self._name} is gone: plug the cable in and start again") from None


def _why_not(port, baud, error):
    """Why a port could not be opened, and what to do, in one line."""
    code = getattr(error, "errno", None)
    if isinstance(error, ValueError):
        return f"{port} cannot be set to {baud} baud: choose another with --baud"
    if code in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        there = ", ".join(sorted(found.device for found in list_ports.comports())) or "none"
        return f"there is no port {port}: plug the board in, or name another with --port; there are: {there}"
    if code in (errno.EAGAIN, errno.EBUSY):
        return f"{port} is in use: close the other program that has it open"
    if code in (errno.EACCES, errno.EPERM):
        return f"{port} may not be opened: add yourself to its group, which is often dialout"
    return f"{port} is no serial port: name one with --port"
