"""Simulates a design in Verilator that has a UART at two pins.

Bytes go in and come out bit by bit, timed in clock cycles of the design.
"""

import ctypes
import weakref
from pathlib import Path

import numpy as np

from .build import Design, build, load

HARNESS = Path(__file__).with_suffix(".cpp")
TOP = "pins"
"""The top module, with ports clk, rx and tx."""

_POINTER, _SIZE, _COUNT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint64
_FUNCTIONS = {
    "open": (_POINTER, [ctypes.c_double]), "close": (None, [_POINTER]),
    "rate": (None, [_POINTER, ctypes.c_double]), "send": (None, [_POINTER, ctypes.c_char_p, _SIZE]),
    "waiting": (_SIZE, [_POINTER]), "cycles": (_COUNT, [_POINTER]),
    "run": (_SIZE, [_POINTER, _COUNT, _SIZE]), "take": (None, [_POINTER, ctypes.c_char_p]),
}
"""The harness's C interface; see pins.cpp."""


class Pins:
    """A simulation of Verilog whose top module `pins` has the ports clk, rx and tx.

    Parameters: `text`, the Verilog; `name`, what messages call it; `bit`, the length of a bit of
    the host's UART in clock cycles, which can be a fraction; `lint`, names of Verilator's warnings
    to leave out; `gates`, whether the text is a netlist; `checked`, whether its assertions are tested: one that fails ends
    the process, with its message.

    The clock runs only in `run`. The first simulation of a text takes seconds or minutes, in which
    it is compiled. BackendError if it cannot be.
    """

    def __init__(self, text: str, name: str, bit: float, lint: tuple[str, ...] = (), gates: bool = False,
                 checked: bool = False):
        design = Design(text=text, name=name, harness=HARNESS, top=TOP, lint=lint, gates=gates, checked=checked)
        self._library = load(build(design), _FUNCTIONS)
        self._handle = self._library.marey_open(bit)
        self.close = weakref.finalize(self, self._library.marey_close, self._handle)

    @property
    def cycles(self) -> int:
        """Clock cycles simulated so far."""
        return self._library.marey_cycles(self._handle)

    @property
    def waiting(self) -> int:
        """Number of bytes that were sent and have not passed the pin yet."""
        return self._library.marey_waiting(self._handle)

    def set_bit(self, bit: float) -> None:
        """Sets the length of a bit of the host's UART in clock cycles, from the next bit on."""
        self._library.marey_rate(self._handle, bit)

    def send(self, data: bytes) -> None:
        """Queues bytes for the pin rx."""
        self._library.marey_send(self._handle, data, len(data))

    def run(self, cycles: int, count: int = 1) -> bytes:
        """Runs the clock until `count` bytes have come from tx, but for no more than `cycles`
        cycles. Returns the bytes that came."""
        data = ctypes.create_string_buffer(self._library.marey_run(self._handle, cycles, count))
        self._library.marey_take(self._handle, data)
        return data.raw


class PinsTransport:
    """A `Transport` through the pins.

    Parameters: `pins`; `patience`, clock cycles without a byte after which `receive` gives up;
    `quiet`, clock cycles without a byte in either direction after which `drain` ends.
    """

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
