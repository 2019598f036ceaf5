"""The driver: one API for every backend. Loads a program, runs it, holds cycles to their prediction."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...hdl.spec.config import Config
from ...hdl.spec.errors import MareyError
from ...hdl.spec.packing import pack_mem, pack_program, pack_wram, unpack_mem
from ...hdl.spec.protocol import MOST_TOKENS, Space, entry_bits, parts
from ...sim.transport import Transport
from ..model.families import graph_of
from ..program.program import Program
from .link import Link, LinkError
from .streamer import Streamer


class ScheduleError(MareyError):
    """A run that did not take the cycles that were predicted, or in which a schedule fault was counted."""

    exit_code = 1


@dataclass
class Tally:
    """What the tile did: sums over runs.

    `predicted` and `measured`: clock cycles between go and done; `macs`: useful multiply-accumulates;
    `link_words`: words over the link, both ways, which take time of their own.
    """

    runs: int = 0
    predicted: int = 0
    measured: int = 0
    macs: int = 0
    link_words: int = 0


class Device:
    """A tile at the other end of a link, and the program that it holds.

    `Device(transport, config)` connects; the tile must have been built for `config` (LinkError says so if not).
    """

    def __init__(self, transport: Transport, config: Config):
        self.config = config
        self.transport = transport
        self.link = Link(transport, config)
        self.tally = Tally()
        self._counted = self._words()
        self._program: Program | None = None
        self._streamer: Streamer | None = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """Ends the simulation, or releases the port."""
        self.transport.close()

    def load(self, program: Program) -> None:
        """Loads a program, its weights and constants, but for what is streamed. MareyError if it is for another
        configuration."""
        program.check_config(self.config)
        self._program = self._streamer = None
        image = program.image
        self.write(Space.PROGRAM, 0, pack_program(self.config, image.codes(self.config)))
        self.write_mem(image.granule, image.constants)
        self.write_weights(0, image.weights)
        self._hold(program)

    def adopt(self, program: Program) -> None:
        """Takes it that the tile holds a program, from its flash, its bitstream, or an earlier `load`.

        LinkError if its instructions are others.
        """
        program.check_config(self.config)
        expected = pack_program(self.config, program.image.codes(self.config))
        if not np.array_equal(self.link.read(Space.PROGRAM, 0, len(expected)), expected):
            raise LinkError(f"the tile does not hold {program.name or 'this program'}: load it, or burn it in")
        self._hold(program)

    def _hold(self, program):
        self._program, self._streamer = program, Streamer(self, program) if program.stream else None

    def run(self, token: int = 0, position: int = 0, count: int = 1, *,
            show: Callable[[int], None] = lambda token: None) -> list[int]:
        """Runs the loaded program: from a token at a position, until `count` (0 to 256) tokens are made, which it returns.

        `show` gets each as it comes. ScheduleError if a run's cycles are not the predicted ones.
        """
        assert 0 <= count <= MOST_TOKENS
        program = self._program
        if self._streamer:
            tokens = self._streamer.tokens(token, position, count, show)
        else:
            tokens = self.execute(0, token=token, position=position, count=count, show=show)
        if program.model:
            graph, last = graph_of(program.model.shape), position + max(count, 1)
            self.tally.macs += sum(graph.macs(at, bool(count)) for at in range(position, last))
        return tokens

    def execute(self, entry: int, *, token: int, position: int, count: int, show: Callable[[int], None] = lambda token: None,
                meanwhile: Callable[[], None] = lambda: None) -> list[int]:
        """One run of the loaded program from an instruction on; returns its tokens, which `show` gets as they come.

        `meanwhile` may write to W-RAM while the tile is at work. ScheduleError if the run's cycles are not the predicted ones.
        """
        predicted = self._program.run_cycles(position, count, entry)
        self.link.start(entry, token=token, position=position, count=count)
        meanwhile()
        measured, faults, tokens = self.link.wait(show)
        self._count()
        if measured != predicted or faults:
            raise ScheduleError(f"{self._program.name or 'program'} at position {position}: predicted {predicted} cycles, "
                                f"measured {measured}, {faults} schedule faults")
        self.tally.runs += 1
        self.tally.predicted += predicted
        self.tally.measured += measured
        return tokens

    def logits(self) -> np.ndarray:
        """The logits of the token that was last run, float64 [vocab]."""
        facts = self._program.model
        integers = self._streamer.logits() if self._streamer else self.read_mem(facts.logits, facts.shape.vocab_size)
        return integers * (float(self.read_mem(facts.scale, 1)[0]) * facts.logit_unit)

    def write_mem(self, granule: int, values: np.ndarray) -> None:
        """int16 values, whole granules of them, to MEM."""
        self.write(Space.MEM, granule, pack_mem(self.config, values))

    def write_weights(self, word: int, weights: np.ndarray) -> None:
        """Weights, int8 [words, cols, rows], to W-RAM."""
        self.write(Space.WRAM, word * self.config.cols, pack_wram(self.config, weights))

    def read_mem(self, granule: int, count: int) -> np.ndarray:
        """`count` int16 values of MEM, from a granule on."""
        size, granules = parts(entry_bits(self.config, Space.MEM)), -(-count // self.config.lanes)
        words = self.link.read(Space.MEM, granule * size, granules * size)
        self._count()
        return unpack_mem(self.config, words)[:count]

    def write(self, space: Space, entry: int, words: np.ndarray) -> None:
        """Link words to a memory, from an entry on."""
        self.link.write(space, entry * parts(entry_bits(self.config, space)), words)
        self._count()

    def _words(self):
        return self.link.words_sent + self.link.words_received

    def _count(self):
        """Adds the words since the last time to the tally."""
        words = self._words()
        self.tally.link_words += words - self._counted
        self._counted = words
