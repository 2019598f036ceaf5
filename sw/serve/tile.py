"""A tile as the server sees it: a process that does one job at a time."""

import asyncio
import multiprocessing
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from ...hdl.spec.errors import MareyError
from ..runtime.verify import common
from .job import Ended, Event, Failed, Job, Leave, Piece, Ready
from .worker import Opener, work

PROCESSES = multiprocessing.get_context("forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn")
"""Processes that share nothing with the server: a fork of it would copy its threads' locks and its sockets. A fork server
imports what they need once for all of them."""
if PROCESSES.get_start_method() == "forkserver":
    PROCESSES.set_forkserver_preload([work.__module__])


class TileError(MareyError):
    """The tile, or its process, has failed."""

    exit_code = 1


class Tile:
    """A tile in a process of its own. `start` it before `events`; after a TileError, `start` it again.

    `tokens`: those that its KV cache has. `backend`: what runs it, once it has started.
    """

    def __init__(self, opener: Opener, path: Path, burned: bool):
        self._arguments = opener, path, burned
        self._process = self._connection = None
        self._reader = ThreadPoolExecutor(1, "tile")
        self.tokens: list[int] = []
        self.backend = ""

    async def start(self) -> None:
        """Starts the process, and returns when the program is loaded. TileError if that fails."""
        self.stop()
        self._connection, its = PROCESSES.Pipe()
        self._process = PROCESSES.Process(target=work, args=(its, *self._arguments), daemon=True)
        await asyncio.to_thread(self._process.start)
        its.close()
        self.tokens = []
        event = await self._receive()
        if not isinstance(event, Ready):
            raise TileError(event.message)
        self.backend = event.backend

    def known(self, job: Job) -> int:
        """Tokens of the job's prompt that the KV cache has."""
        return common(self.tokens, job.tokens[:-1])

    async def events(self, job: Job) -> AsyncIterator[Event]:
        """Does a job: its events up to `Ended`. TileError if it fails."""
        self.tokens = [*job.tokens]
        self._send(job)
        while True:
            event = await self._receive()
            if isinstance(event, Failed):
                raise TileError(event.message)
            if isinstance(event, Piece) and event.token is not None:
                self.tokens.append(event.token)
            yield event
            if isinstance(event, Ended):
                return

    def leave(self, job: Job) -> None:
        """Tells the tile that nobody waits for a job any longer: it stops after the token at which it is."""
        self._send(Leave(job.number))

    def stop(self) -> None:
        """Ends the process, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
            self._process = None

    def close(self) -> None:
        """Ends the process and the thread that listens to it."""
        self.stop()
        self._reader.shutdown(wait=False, cancel_futures=True)

    def _send(self, message):
        with suppress(OSError):  # whoever listens to the tile finds out that it has ended
            self._connection.send(message)

    async def _receive(self) -> Event:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reader, self._connection.recv)
        except (EOFError, OSError):
            raise TileError("the process of the tile has ended") from None
