"""Verilator as a backend: the generated Verilog, compiled to a shared library that is called in
process."""

import ctypes
import re
import weakref
from collections.abc import Sequence
from pathlib import Path

import amaranth
import numpy as np

from .. import hdl
from ..hdl.mxm.wram import Wram
from ..hdl.spec.config import Config
from ..hdl.spec.packing import pack_wram, unpack_wram
from ..hdl.spec.protocol import Space, entry_bits, parts
from ..hdl.spec.wide import from_words, to_words
from .build import Design, build, load
from .cache import digest, kept
from .simulation import QUIET, BackendError, ScheduleFault, Simulation, quiet_cycles

PATIENCE = 1 << 24
"""Clock cycles without an answer word after which `receive` gives up: the longest run of a token takes about half of them."""

HARNESS = Path(__file__).with_suffix(".cpp")

_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_size_t
_FUNCTIONS = {
    "open": (_POINTER, [ctypes.c_char_p]), "close": (None, [_POINTER]), "send": (None, [_POINTER, _POINTER, _SIZE]),
    "receive": (ctypes.c_int64, [_POINTER, _POINTER, _SIZE, ctypes.c_uint64]),
    "drain": (ctypes.c_int64, [_POINTER, ctypes.c_uint64]), "cycles": (ctypes.c_uint64, [_POINTER]),
    "memory": (ctypes.c_char_p, [_POINTER, _SIZE]),
    "copy": (None, [_POINTER, _SIZE, _SIZE, _SIZE, _POINTER, _SIZE, _SIZE, ctypes.c_bool]),
    "fault": (ctypes.c_char_p, []), "watch": (None, [_POINTER, ctypes.c_bool]), "seen": (_SIZE, [_POINTER, _POINTER]),
}
"""The harness's C interface; see verilator.cpp."""

_BANK = re.compile(r"__DOT__column(\d+)__DOT__wram\w*__DOT__bank(\d+)\w*__DOT__ram\w*__DOT__rows$")
"""The end of the name of a bank of a column's W-RAM: numbers of the column and of the bank."""
_CHUNK_WORDS = 1 << 15
"""W-RAM words that are placed at a time: a few megabytes."""


def open_tile(config: Config, *, checked: bool = False, trace: Path | None = None) -> "VerilatorTile":
    """A tile of a configuration, compiled by Verilator; the parameters are those of
    `VerilatorTransport`.

    BackendError if no simulator can be built here.
    """
    return VerilatorTile(config, checked=checked, trace=trace)


class VerilatorTransport(Simulation):
    """A `Simulation` of Verilog that `marey.hdl.verilog.convert` wrote, or of a netlist that was made of it. No output may
    depend on an input of the same cycle.

    Parameters: `text`, the Verilog; `name`, what messages call it; `patience` and `quiet`, see
    `Simulation`; `checked`, whether the design's assertions are tested, at some cost in speed;
    `trace`, a VCD file that the ports are written to; `gates`, whether it is a netlist; `lint`, names
    of Verilator's warnings to leave out.

    The first simulation of a text takes seconds, in which it is compiled. BackendError if it cannot
    be.
    """

    def __init__(self, text: str, *, name: str = "the design", patience: int = PATIENCE, quiet: int = QUIET,
                 checked: bool = False, trace: Path | None = None, gates: bool = False, lint: Sequence[str] = ()):
        super().__init__(patience, quiet)
        design = Design(text=text, name=name, harness=HARNESS, checked=checked, traced=trace is not None,
                        written=not gates, gates=gates, lint=lint)
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


class VerilatorTile(VerilatorTransport):
    """A `VerilatorTransport` to the tile of a configuration, which can place weights (see `Placing`).

    Parameters: `config`; `checked` and `trace` as for `VerilatorTransport`.
    """

    def __init__(self, config: Config, *, checked: bool = False, trace: Path | None = None):
        super().__init__(_verilog(config), name=config.name, quiet=quiet_cycles(config), checked=checked, trace=trace)
        self._config, self._pair = config, config.wram_depth // config.column_words

    def place_weights(self, word: int, weights: np.ndarray) -> bool:
        self._check_open()
        banks = self._banks()
        if banks is None or word + len(weights) > self._config.wram_depth:
            return False
        first, end = word // self._pair * self._pair, -(-(word + len(weights)) // self._pair) * self._pair
        if (first, end) != (word, word + len(weights)):  # a pair of words of which only one is given
            whole = self.placed(first, end - first)
            whole[word - first:][:len(weights)] = weights
            word, weights = first, whole
        for start in range(0, len(weights), _CHUNK_WORDS):
            chunk = weights[start:start + _CHUNK_WORDS]
            self._copy(banks, (word + start) // self._pair, self._stored(chunk), True)
        return True

    def placed(self, word: int, count: int) -> np.ndarray:
        """The weights, int8 [count, cols, rows], that W-RAM holds from a word on; for tests. BackendError if they cannot be
        read."""
        banks = self._banks()
        if banks is None:
            raise BackendError("W-RAM was not found in the simulator")
        config, first = self._config, word // self._pair
        pairs = -(-(word + count) // self._pair) - first
        size = config.rows if config.paired else parts(entry_bits(config, Space.WRAM)) * 4
        octets = np.zeros((pairs, config.cols, size), np.uint8)
        self._copy(banks, first, octets, False)
        if config.paired:
            return to_words(config, octets.view(np.int8))[word % self._pair:][:count]
        return unpack_wram(config, octets.view("<u4").ravel()).reshape(count, config.cols, -1)

    def _stored(self, weights):
        """Words of weights, int8 [words, cols, rows], as the bytes of the memories that hold them: uint8 [words, cols, bytes];
        of pairs of words, [words / 2, cols, rows]."""
        if self._config.paired:
            return np.ascontiguousarray(from_words(self._config, weights.swapaxes(0, 1)).swapaxes(0, 1)).view(np.uint8)
        return pack_wram(self._config, weights).view(np.uint8).reshape(len(weights), self._config.cols, -1)

    def _banks(self):
        """Numbers of the memories that are banks of W-RAM: {(column, bank): number}; None if not all were found.

        A W-RAM with one port is made of other memories, which are not looked for.
        """
        found, number = {}, 0
        while (name := self._library.marey_memory(self._handle, number)) is not None:
            if match := _BANK.search(name.decode()):
                found[int(match[1]), int(match[2])] = number
            number += 1
        wanted = {(column, bank) for column in range(self._config.cols) for bank in range(len(Wram.banks(self._config)))}
        return found if found.keys() == wanted else None

    def _copy(self, banks, word, octets, to_tile):
        """Copies words of the memories as bytes, uint8 [words, cols, bytes], to W-RAM or from there, from a word on."""
        _, cols, size = octets.shape
        for bank, words in enumerate(Wram.banks(self._config)):
            first, end = max(word, words.start), min(word + len(octets), words.stop)
            for column in range(cols if first < end else 0):
                at = octets.ctypes.data + ((first - word) * cols + column) * size
                self._library.marey_copy(self._handle, banks[column, bank], first - words.start, end - first, at, size,
                                         cols * size, to_tile)


def _verilog(config):
    """The tile's Verilog.

    It is cached by the text of its sources, because Amaranth takes seconds to write it.
    """
    sources = sorted(file for file in Path(hdl.__file__).parent.rglob("*") if file.suffix in (".py", ".v"))
    if config.memory:
        sources += sorted(Path(__file__).parent.glob("sdram*.py"))
    name = digest(str(config), amaranth.__version__, *(source.read_text() for source in sources))

    def make(folder):
        # Here, and not above, because the whole tile takes some tenths of a second to import.
        from ..hdl import verilog
        from .sdram import simulated
        file = folder / "tile.v"
        file.write_text(verilog.convert(simulated(config)))
        return file

    return kept(name, ".v", make).read_text()
