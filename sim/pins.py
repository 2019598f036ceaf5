"""A design in Verilator behind two pins: bytes go in and come out of a UART, bit by bit, in the design's clock cycles."""

import ctypes
import weakref
from pathlib import Path

import numpy as np

from . import verilator
from .simulation import BackendError

HARNESS = Path(__file__).with_suffix(".cpp")
TOP = "pins"
"""The top module, with ports clk, rx and tx."""


class Pins:
    """Verilog with a UART at its pins, whose module `pins` has the ports clk, rx and tx, in a simulator.

    Parameters: `text`; `name`, for messages; `bit`, clock cycles of a bit of this end, a fraction too;
    `lint`, Verilator's warnings that the text must be allowed; `gates`: it is a netlist.

    The clock runs in `run` only. The first of each text takes a build; BackendError if that fails.
    """

    def __init__(self, text: str, name: str, bit: float, lint: tuple[str, ...] = (), gates: bool = False):
        self._library = _load(verilator.build(text, name, top=TOP, harness=HARNESS, lint=lint, gates=gates))
        self._handle = self._library.marey_open(bit)
        self.close = weakref.finalize(self, self._library.marey_close, self._handle)

    @property
    def cycles(self) -> int:
        """Clock cycles simulated so far."""
        return self._library.marey_cycles(self._handle)

    @property
    def waiting(self) -> int:
        """Bytes sent that have not passed the pin yet."""
        return self._library.marey_waiting(self._handle)

    def set_bit(self, bit: float) -> None:
        """From the next bit on, bits of this end take so many clock cycles."""
        self._library.marey_rate(self._handle, bit)

    def send(self, data: bytes) -> None:
        """Queues bytes for the line to the design."""
        self._library.marey_send(self._handle, data, len(data))

    def run(self, cycles: int, count: int = 1) -> bytes:
        """Clocks until `count` bytes have come, but no more than so many cycles; returns those that came."""
        data = ctypes.create_string_buffer(self._library.marey_run(self._handle, cycles, count))
        self._library.marey_take(self._handle, data)
        return data.raw


class PinsTransport:
    """A `Transport` through the pins, in process. `patience`: clock cycles without a byte after which `receive` gives up;
    `quiet`: without one either way, after which `drain` does."""

    simulated_hz = None

    def __init__(self, pins: Pins, patience: int, quiet: int):
        self._pins, self._patience, self._quiet = pins, patience, quiet
        self._left = b""

    @property
    def cycles(self) -> int:
        return self._pins.cycles

    def send(self, words: np.ndarray) -> None:
        self._pins.send(np.asarray(words, "<u4").tobytes())

    def receive(self, count: int) -> np.ndarray:
        while len(self._left) < 4 * count:
            data = self._pins.run(self._patience, 4 * count - len(self._left))
            self._left += data
            if not data and not self._pins.waiting:
                break
        data, self._left = self._left[:4 * count], self._left[4 * count:]
        return np.frombuffer(data[:len(data) // 4 * 4], "<u4").astype(np.uint32)

    def drain(self) -> None:
        while self._pins.run(self._quiet) or self._pins.waiting:
            pass
        self._left = b""

    def close(self) -> None:
        self._pins.close()


def _load(library):
    """The library's C interface, typed. BackendError if it cannot be loaded."""
    try:
        loaded = ctypes.CDLL(str(library))
    except OSError as error:
        raise BackendError(f"{library} cannot be loaded: {error}") from None
    pointer, size, count = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint64
    for name, result, arguments in (
        ("open", pointer, [ctypes.c_double]), ("close", None, [pointer]), ("rate", None, [pointer, ctypes.c_double]),
        ("send", None, [pointer, ctypes.c_char_p, size]), ("waiting", size, [pointer]), ("cycles", count, [pointer]),
        ("run", size, [pointer, count, size]), ("take", None, [pointer, ctypes.c_char_p]),
    ):
        function = getattr(loaded, f"marey_{name}")
        function.restype, function.argtypes = result, arguments
    return loaded
