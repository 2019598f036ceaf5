"""The backends by name."""

import sys

from ..hdl.spec.config import Config
from . import pysim, verilator
from .build import missing
from .endpoint import Endpoint
from .port import BAUD, PATIENCE, PortError, PortTransport
from .transport import Transport

OPENERS = {"verilator": verilator.open_tile, "emulator": Endpoint, "pysim": pysim.open_tile}
BACKENDS = [*OPENERS, "serial"]


def default_backend() -> str:
    """The name of the backend for this machine: `verilator` if a simulator can be built, else
    `emulator`, after a line on stderr that says why."""
    why = missing()
    if why is None:
        return "verilator"
    print(f"marey: running the emulator: {why}", file=sys.stderr)
    return "emulator"


def open_transport(config: Config, backend: str, *, port: str | None = None, baud: int = BAUD,
                   patience: float = PATIENCE) -> Transport:
    """Opens a tile of a configuration in the backend of that name.

    `port`, `baud` and `patience`, in seconds, are for the backend `serial`. Whether the board there
    has this configuration is checked by the link, not here. BackendError if the backend cannot be
    used on this machine.
    """
    if backend != "serial":
        return OPENERS[backend](config)
    if port is None:
        raise PortError("the backend serial needs the port of the board: name it with --port")
    return PortTransport(port, baud, patience)
