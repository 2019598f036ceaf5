"""A pseudo-terminal: a program that opens it by its name has a serial port, and this is the other
end."""

import errno
import os
import select
import termios
import tty

_RATES = {getattr(termios, name): int(name[1:]) for name in dir(termios) if name[0] == "B" and name[1:].isdigit()}


class Terminal:
    """The board's end of a pseudo-terminal. Attribute `name`: the port that the host opens."""

    def __init__(self):
        self._board, self._host = os.openpty()
        tty.setraw(self._host)
        os.set_blocking(self._board, False)
        self.name = os.ttyname(self._host)

    @property
    def baud(self) -> int | None:
        """Rate in bits a second that the host has set; None if termios has no name for it."""
        return _RATES.get(termios.tcgetattr(self._host)[5])

    def read(self, seconds: float, most: int = 256) -> bytes:
        """Up to `most` bytes from the host; b"" if none comes within `seconds`."""
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
        """Sends bytes to the host. Those that it does not read within a second are lost."""
        while data and select.select([], [self._board], [], 1)[1]:
            data = data[os.write(self._board, data):]

    def close(self) -> None:
        """Closes both ends; to the host, its port goes away."""
        os.close(self._host)
        os.close(self._board)
