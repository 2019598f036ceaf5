"""Runs the application: the sockets, the time that clients have, and how it ends."""

import asyncio
import ipaddress
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ...hdl.spec.errors import MareyError
from ..program.program import Program
from ..text.chat import ChatTemplate
from .app import Service, application
from .guard import Guard
from .metrics import Metrics
from .page import Speeds, routes
from .pool import Pool
from .promise import Clock
from .tile import Tile
from .worker import Opener

HEADER_S = 15
"""Seconds in which the headers of a request must have come, from the connection or the last response on."""
KEEP_ALIVE_S = 5
"""Seconds for which a connection without a request is kept."""
END_S = 3
"""Seconds that answers under way have when the server ends."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Protocol(H11Protocol):
    """HTTP/1.1, with a limit on the time that headers take."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport):
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc):
        # A timer that goes on would keep all of the connection in memory until it ends.
        self._timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self):
        super().on_response_complete()
        self._expect()

    def _expect(self):
        if self._timer:
            self._timer.cancel()
        self._timer = self.loop.call_later(HEADER_S, self._close_unless_new, self.cycle)

    def _close_unless_new(self, cycle):
        if self.cycle is cycle and not self.transport.is_closing():
            self.transport.close()


def is_loopback(host: str) -> bool:
    """Whether an address, or a name, is this machine's own, which no other machine can reach."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; with port 0, at a free one. MareyError if the address cannot be had."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=256)
    except (OSError, OverflowError, UnicodeError) as error:
        raise MareyError(f"cannot listen on {host} port {port}: {getattr(error, 'strerror', None) or error}") from None


@dataclass(frozen=True)
class Settings:
    """What can be chosen about a server.

    `clock`: at which cycles are told as seconds. `template`: for chats, or None. `speeds`: see `Speeds`. `tile_count`:
    processes with a tile each; `burned`: they hold the program already. `most_waiting`: requests that may wait. `api_key`:
    the bearer token of requests; without one, the server answers to this machine's own names only.
    """

    clock: Clock
    template: ChatTemplate | None = None
    speeds: Speeds = list
    tile_count: int = 1
    burned: bool = False
    most_waiting: int = 256
    most_body_bytes: int = 1 << 20
    api_key: str | None = None


def prepare(program: Program, path: Path, opener: Opener, settings: Settings) -> tuple[Service, uvicorn.Server]:
    """A server that is not yet running, for a program that is in the file `path`, too; `opener` opens a tile."""
    metrics = Metrics()
    tiles = [Tile(opener, path, settings.burned) for _ in range(settings.tile_count)]
    service = Service(program, program.name, settings.template, Pool(tiles, settings.most_waiting, metrics), metrics,
                      settings.clock, settings.most_body_bytes)
    guard = Guard(application(service, *routes(program, settings.speeds)), metrics,
                  None if settings.api_key else LOOPBACK, settings.api_key)
    return service, uvicorn.Server(uvicorn.Config(
        guard, http=Protocol, ws="none", lifespan="off", log_level="critical", access_log=False, server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S, timeout_graceful_shutdown=END_S))


async def run(service: Service, server: uvicorn.Server, sock: socket.socket, ready: Callable[[], None]) -> None:
    """Starts the tiles, then answers requests until `server.should_exit` is set. TileError if a tile cannot be started.

    `ready` is called when requests are answered.
    """
    try:
        await service.pool.start()
        ready()
        await server.serve(sockets=[sock])
    finally:
        service.pool.close()
        sock.close()


def serve(service: Service, server: uvicorn.Server, sock: socket.socket, ready: Callable[[], None]) -> None:
    """The same until SIGINT or SIGTERM comes, for a program that does nothing else."""
    def answering():
        # uvicorn ends at these signals, and raises them once more at its end: then they must do nothing.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        ready()

    asyncio.run(run(service, server, sock, answering))
