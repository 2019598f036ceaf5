"""Verilator as a backend: the generated Verilog, compiled to a shared library that is called in
process."""

import ctypes
import weakref
from pathlib import Path

import amaranth
import numpy as np

from ..hdl import verilog
from ..hdl.spec.config import Config
from ..hdl.tile import Tile
from .build import Design, build, load
from .cache import digest, kept
from .simulation import QUIET, ScheduleFault, Simulation, quiet_cycles

PATIENCE = 1 << 22
"""Clock cycles without an answer word after which `receive` gives up: some seconds."""

HARNESS = Path(__file__).with_suffix(".cpp")

_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_size_t
_FUNCTIONS = {
    "open": (_POINTER, [ctypes.c_char_p]), "close": (None, [_POINTER]), "send": (None, [_POINTER, _POINTER, _SIZE]),
    "receive": (ctypes.c_int64, [_POINTER, _POINTER, _SIZE, ctypes.c_uint64]),
    "drain": (ctypes.c_int64, [_POINTER, ctypes.c_uint64]), "cycles": (ctypes.c_uint64, [_POINTER]),
    "fault": (ctypes.c_char_p, []), "watch": (None, [_POINTER, ctypes.c_bool]), "seen": (_SIZE, [_POINTER, _POINTER]),
}
"""The harness's C interface; see verilator.cpp."""


def open_tile(config: Config, *, checked: bool = False, trace: Path | None = None) -> "VerilatorTransport":
    """A tile of a configuration, compiled by Verilator; the parameters are those of
    `VerilatorTransport`.

    BackendError if no simulator can be built here.
    """
    return VerilatorTransport(_verilog(config), name=config.name, quiet=quiet_cycles(config),
                              checked=checked, trace=trace)


class VerilatorTransport(Simulation):
    """A `Simulation` of Verilog that `marey.hdl.verilog.convert` wrote.

    Parameters: `text`, the Verilog; `name`, what messages call it; `patience` and `quiet`, see
    `Simulation`; `checked`, whether the design's assertions are tested, at some cost in speed;
    `trace`, a VCD file that the ports are written to.

    The first simulation of a text takes seconds, in which it is compiled. BackendError if it cannot
    be.
    """

    def __init__(self, text: str, *, name: str = "the design", patience: int = PATIENCE, quiet: int = QUIET,
                 checked: bool = False, trace: Path | None = None):
        super().__init__(patience, quiet)
        design = Design(text=text, name=name, harness=HARNESS, checked=checked, traced=trace is not None)
        self._library = load(build(design), _FUNCTIONS)
        self._handle = self._library.marey_open(str(trace).encode() if trace else None)
        self._finalizer = weakref.finalize(self, self._library.marey_close, self._handle)

    @property
    def cycles(self) -> int:
        return self._library.marey_cycles(self._handle) if self._finalizer.alive else self._last_cycles

    def watch(self, on: bool) -> None:
        """Starts or stops recording the tile's probe, and forgets what was recorded."""
        self._library.marey_watch(self._handle, on)

    def watched(self) -> np.ndarray:
        """The recorded changes of the probe: int64 [n, 2], clock cycle and new value (bits:
        `marey.hdl.tile.PROBE`)."""
        numbers = np.zeros(self._library.marey_seen(self._handle, None), np.uint64)
        self._library.marey_seen(self._handle, numbers.ctypes.data)
        return numbers.astype(np.int64).reshape(-1, 2)

    def _send(self, words):
        self._library.marey_send(self._handle, words.ctypes.data, len(words))

    def _receive(self, count):
        words = np.zeros(count, np.uint32)
        received = self._library.marey_receive(self._handle, words.ctypes.data, count, self.patience)
        self._raise_fault(received)
        return words[:received]

    def _drain(self):
        self._raise_fault(self._library.marey_drain(self._handle, self.quiet))

    def _raise_fault(self, result):
        if result < 0:
            raise ScheduleFault(" ".join(self._library.marey_fault().decode().split()))

    def _close(self):
        self._last_cycles = self.cycles
        self._finalizer()


def _verilog(config):
    """The tile's Verilog.

    It is cached by the text of its sources, because Amaranth takes seconds to write it.
    """
    sources = [*sorted(Path(verilog.__file__).parent.rglob("*.py")), verilog.RAM]
    name = digest(str(config), amaranth.__version__, *(source.read_text() for source in sources))

    def make(folder):
        file = folder / "tile.v"
        file.write_text(verilog.convert(Tile(config)))
        return file

    return kept(name, ".v", make).read_text()
