"""The session with a tile: its memories over the link, and runs whose cycles are compared with the prediction."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...hdl.spec.config import Config
from ...hdl.spec.errors import MareyError
from ...hdl.spec.packing import pack_mem, pack_wram, unpack_mem
from ...hdl.spec.protocol import Space, entry_bits, parts
from ...sim.transport import Placing, Transport
from ..program.program import Program
from .link import Link

PLACED_BYTES = 1 << 22
"""Weights from so many bytes on are written directly into a simulator: over the link they would take some seconds."""


class ScheduleError(MareyError):
    """A run did not take the predicted number of cycles, or the tile counted a schedule fault in it."""

    exit_code = 1


@dataclass
class Tally:
    """Sums over all runs of a session.

    `predicted` and `measured`: clock cycles between go and done. `macs`: useful multiply-accumulates. `link_words`: 32-bit
    words over the link, in both directions; they take time of their own, which is not in the cycles.
    """

    runs: int = 0
    predicted: int = 0
    measured: int = 0
    macs: int = 0
    link_words: int = 0


class Session:
    """A tile at the other end of a link: writes and reads its memories, and executes runs.

    `Session(transport, config)` connects. LinkError if the tile was not built for `config`.
    """

    def __init__(self, transport: Transport, config: Config):
        self.config = config
        self.transport = transport
        self.link = Link(transport, config)
        self.tally = Tally()
        self._counted_words = self._words()

    def execute(self, program: Program, entry: int | None = None, *, token: int, position: int, count: int,
                show: Callable[[int], None] = lambda token: None, meanwhile: Callable[[], None] = lambda: None) -> list[int]:
        """Executes one run of a program that the tile holds, from instruction `entry` on, and returns the tokens it makes.
        Without `entry` it begins where the program says for the position.

        `show` is called with each token when it arrives; `meanwhile` is called once, while the tile computes, and may write
        to W-RAM. ScheduleError if the tile's cycle count is not the predicted one.
        """
        entry = program.entry(position) if entry is None else entry
        predicted = program.run_cycles(position, count, entry)
        self.link.start(entry, token=token, position=position, count=count)
        meanwhile()
        measured, faults, tokens = self.link.wait(show)
        self._count_words()
        if measured != predicted or faults:
            raise ScheduleError(f"{program.name or 'program'} at position {position}: predicted {predicted} cycles, "
                                f"measured {measured}, {faults} schedule faults")
        self.tally.runs += 1
        self.tally.predicted += predicted
        self.tally.measured += measured
        return tokens

    def write_mem(self, granule: int, values: np.ndarray, sent: Callable[[int], None] = lambda words: None) -> None:
        """Writes int16 values, a multiple of `lanes` of them, to MEM from a granule on."""
        self.write(Space.MEM, granule, pack_mem(self.config, values), sent)

    def write_weights(self, word: int, weights: np.ndarray, sent: Callable[[int], None] = lambda words: None) -> None:
        """Writes weights, int8 [words, cols, rows], to W-RAM from a word on."""
        self.write(Space.WRAM, word * self.config.cols, pack_wram(self.config, weights), sent)

    def load_weights(self, weights: np.ndarray, sent: Callable[[int], None] = lambda words: None) -> None:
        """Writes a program's weights, int8 [words, cols, rows], from W-RAM word 0 on; many of them directly, where the
        transport can (see `Placing`)."""
        many = weights.nbytes >= PLACED_BYTES and isinstance(self.transport, Placing)
        if not (many and self.transport.place_weights(0, weights)):
            self.write_weights(0, weights, sent)

    def read_mem(self, granule: int, count: int) -> np.ndarray:
        """Reads `count` int16 values of MEM, from a granule on."""
        size, granules = parts(entry_bits(self.config, Space.MEM)), -(-count // self.config.lanes)
        return unpack_mem(self.config, self._read(Space.MEM, granule * size, granules * size))[:count]

    def read_program(self, count: int) -> np.ndarray:
        """Reads the first `count` link words, uint32, of the tile's program memory."""
        return self._read(Space.PROGRAM, 0, count)

    def write(self, space: Space, entry: int, words: np.ndarray, sent: Callable[[int], None] = lambda words: None) -> None:
        """Writes uint32 link words to a memory, from an entry on; `sent` is called with the size of each frame, in words."""
        self.link.write(space, entry * parts(entry_bits(self.config, space)), words, sent)
        self._count_words()

    def _read(self, space, address, count):
        words = self.link.read(space, address, count)
        self._count_words()
        return words

    def _words(self):
        return self.link.words_sent + self.link.words_received

    def _count_words(self):
        """Adds to the tally the link words since the last call."""
        words = self._words()
        self.tally.link_words += words - self._counted_words
        self._counted_words = words
