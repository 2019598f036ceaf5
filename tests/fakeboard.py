"""A board that is not there: the emulator's endpoint behind a pseudo-terminal, and a line that can be spoilt."""

import threading

import numpy as np

from marey.hdl.spec.config import Config
from marey.sim.endpoint import Endpoint
from marey.sim.terminal import Terminal

SILENCE = 0.02


class FakeBoard(threading.Thread):
    """Serves until `pull` or the end of the with block. `damage` is applied to all bytes, either way.

    `endpoint`: a board keeps its state when its cable is pulled, and the next takes it over.
    """

    def __init__(self, config: Config, baud: int, *, endpoint: Endpoint | None = None, damage=lambda data: data,
                 pull_after: int | None = None):
        super().__init__(daemon=True)
        self.endpoint = endpoint or Endpoint(config)
        self._terminal, self._baud, self._damage = Terminal(), baud, damage
        self._left, self._ended = pull_after, threading.Event()
        self.port = self._terminal.name
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pull()

    def pull(self):
        self._ended.set()
        self.join()

    def run(self):
        partial = b""
        while not self._ended.is_set():
            data = self._damage(self._line(self._terminal.read(SILENCE, 1 << 16)))
            if data:
                partial += data
                whole = len(partial) // 4 * 4
                self.endpoint.send(np.frombuffer(partial[:whole], "<u4"))
                partial = partial[whole:]
                answer = self.endpoint.receive(self.endpoint.waiting)
            else:
                partial = b""
                # More than there is: the endpoint takes it for silence.
                answer = self.endpoint.receive(1 << 20)
            answer = self._damage(self._line(answer.astype("<u4").tobytes()))
            if self._left is not None:
                self._left -= len(answer)
                if self._left <= 0:
                    break
            self._terminal.write(answer)
        self._terminal.close()

    def _line(self, data):
        """At another rate than the host's, other bytes."""
        return data if self._terminal.baud == self._baud else bytes(byte * 7 & 0xF9 for byte in data)
