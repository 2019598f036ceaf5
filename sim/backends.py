"""The backends by name."""

from ..hdl.spec.config import Config
from .build import missing
from .port import BAUD, PATIENCE, PortTransport, check_port
from .progress import say
from .transport import Transport


# Each imports its module when it is called: all of them together take longer than most commands need to begin.
def _verilator(config: Config) -> Transport:
    from .verilator import open_tile
    return open_tile(config)


def _emulator(config: Config) -> Transport:
    from .endpoint import Endpoint
    return Endpoint(config)


def _pysim(config: Config) -> Transport:
    from .pysim import open_tile
    return open_tile(config)


OPENERS = {"verilator": _verilator, "emulator": _emulator, "pysim": _pysim}
BACKENDS = [*OPENERS, "serial"]


def default_backend() -> str:
    """The name of the backend for this machine: `verilator` if a simulator can be built, else
    `emulator`, after a line on stderr that says why."""
    why = missing()
    if why is None:
        return "verilator"
    return fall_back(why)


def fall_back(why: str) -> str:
    """The name of the backend that needs nothing, after a line on stderr that says why it is taken."""
    say(f"marey: running the emulator: {why}")
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
    check_port(port)
    return PortTransport(port, baud, patience)
