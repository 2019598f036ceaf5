"""The backends by name."""

import sys

from ..hdl.spec.config import Config
from . import pysim, verilator
from .endpoint import Endpoint
from .port import BAUD, PATIENCE, PortError, PortTransport
from .transport import Transport

OPENERS = {"verilator": verilator.open_tile, "emulator": Endpoint, "pysim": pysim.open_tile}
BACKENDS = [*OPENERS, "serial"]


def default_backend() -> str:
    """Verilator's, or the emulator's if that cannot be had here, with a line on stderr that says why."""
    missing = verilator.available()
    if missing is None:
        return "verilator"
    print(f"marey: running the emulator: {missing}", file=sys.stderr)
    return "emulator"


def open_transport(config: Config, backend: str, *, port: str | None = None, baud: int = BAUD,
                   patience: float = PATIENCE) -> Transport:
    """A tile of a configuration in the named backend; `port`, `baud` and `patience`, in seconds, are for `serial`.

    BackendError if it cannot be had here. Whether a board is of this configuration, the link finds out.
    """
    if backend != "serial":
        return OPENERS[backend](config)
    if port is None:
        raise PortError("the backend serial needs to know the board's port: name it with --port")
    return PortTransport(port, baud, patience)
