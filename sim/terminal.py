"""The board's side of a pseudo-terminal: to whoever opens it by its name, it is a serial port."""

import errno
import os
import select
import termios
import tty

_RATES = {getattr(termios, name): int(name[1:]) for name in dir(termios) if name[0] == "B" and name[1:].isdigit()}


class Terminal:
    """A pseudo-terminal. Attributes: `name`, what the host opens as a port."""

    def __init__(self):
        self._board, self._host = os.openpty()
        tty.setraw(self._host)
        os.set_blocking(self._board, False)
        self.name = os.ttyname(self._host)

    @property
    def baud(self) -> int | None:
        """The rate that the host has set; None for one that has no name in termios."""
        return _RATES.get(termios.tcgetattr(self._host)[5])

    def read(self, seconds: float, most: int = 256) -> bytes:
        """What the host has sent, at most so many bytes of it; waits for the first so long."""
        select.select([self._board], [], [], seconds)
        try:
            return os.read(self._board, most)
        except BlockingIOError:
            return b""
        except OSError as error:
            if error.errno == errno.EIO:
                return b""
            raise

    def write(self, data: bytes) -> None:
        """To the host; what it does not take in a second is lost, as on a line."""
        while data and select.select([], [self._board], [], 1)[1]:
            data = data[os.write(self._board, data):]

    def close(self) -> None:
        """The host sees its port go."""
        os.close(self._host)
        os.close(self._board)
