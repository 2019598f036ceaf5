"""The backends by name."""

import sys

from ..hdl.config import Config
from . import pysim, verilator
from .endpoint import Endpoint
from .transport import Transport

OPENERS = {"verilator": verilator.open_tile, "emulator": Endpoint, "pysim": pysim.open_tile}
BACKENDS = list(OPENERS)


def default_backend() -> str:
    """Verilator's, or the emulator's if that cannot be had here, with a line on stderr that says why."""
    missing = verilator.available()
    if missing is None:
        return "verilator"
    print(f"marey: running the emulator: {missing}", file=sys.stderr)
    return "emulator"


def open_transport(config: Config, backend: str) -> Transport:
    """A tile of a configuration in the named backend. BackendError if it cannot be had here."""
    return OPENERS[backend](config)
