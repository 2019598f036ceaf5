"""The backends by name."""

from ..hdl.config import Config
from . import pysim, verilator
from .endpoint import Endpoint
from .transport import Transport

OPENERS = {"verilator": verilator.open_tile, "emulator": Endpoint, "pysim": pysim.open_tile}
BACKENDS = list(OPENERS)


def open_transport(config: Config, backend: str) -> Transport:
    """A tile of a configuration in the named backend. BackendError if it cannot be had here."""
    return OPENERS[backend](config)
