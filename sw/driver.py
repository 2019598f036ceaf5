"""The driver: one API for every backend. Loads a program, runs its segments, holds cycles to their prediction."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from ..hdl.config import Config
from ..hdl.errors import MareyError
from ..hdl.packing import pack_mem, pack_program, pack_wram, unpack_mem
from ..hdl.protocol import Space, entry_bits, parts
from ..sim.transport import Transport
from .link import Link
from .lowering import Group, Segment
from .program import Program


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
        self._groups: list[Group] = []
        self._segments: dict[str, list[Segment]] = {}
        self._loaded: int | None = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """Ends the simulation, or releases the port."""
        self.transport.close()

    def load(self, program: Program) -> None:
        """Takes a program on, and loads it if it fits the tile whole. MareyError if it is for another configuration."""
        program.check_config(self.config)
        self._groups = program.groups
        self._segments = defaultdict(list)
        for segment in program.segments:
            self._segments[segment.linear].append(segment)
        self._loaded = None
        if program.resident:
            self._load_group(0)

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        """A linear operation on the tile: int8 inputs [vectors, K] to int16 outputs [vectors, N].

        ScheduleError if a run's cycles are not the predicted ones.
        """
        return np.concatenate([self.run(segment, x) for segment in self._segments[name]], axis=-1)

    def run(self, segment: Segment, x: np.ndarray) -> np.ndarray:
        """One segment: int8 inputs [vectors, K] to int16 outputs [vectors, segment.outputs]."""
        if segment.group != self._loaded:
            self._load_group(segment.group)
        before = self._words()
        config = self.config
        padded = np.zeros((segment.vectors, segment.inner * config.rows), np.int16)
        padded[:, :segment.inputs] = x
        self._write(Space.MEM, segment.act * config.granules_per_word, pack_mem(config, padded))
        self.start(segment)
        granules = segment.vectors * segment.outer * config.beats_per_result
        size = parts(entry_bits(config, Space.MEM))
        words = self.link.read(Space.MEM, segment.dst * size, granules * size)
        self.tally.link_words += self._words() - before
        return unpack_mem(config, words).reshape(segment.vectors, -1)[:, :segment.outputs]

    def start(self, segment: Segment) -> int:
        """Runs a segment on what is in MEM; returns its cycles, measured. ScheduleError if they were not predicted."""
        self.link.start(segment.entry)
        measured, faults = self.link.wait()
        if measured != segment.cycles or faults:
            raise ScheduleError(f"{segment.linear or 'program'}: predicted {segment.cycles} cycles, measured {measured}, "
                                f"{faults} schedule faults")
        self.tally.runs += 1
        self.tally.predicted += segment.cycles
        self.tally.measured += measured
        self.tally.macs += segment.macs
        return measured

    def _words(self):
        return self.link.words_sent + self.link.words_received

    def _load_group(self, number):
        group, config = self._groups[number], self.config
        before = self._words()
        self._loaded = None
        self._write(Space.PROGRAM, 0, pack_program(config, group.codes(config)))
        self._write(Space.MEM, group.factors_at, pack_mem(config, group.factors))
        self._write(Space.WRAM, 0, pack_wram(config, group.weights))
        self._loaded = number
        self.tally.link_words += self._words() - before

    def _write(self, space, entry, words):
        self.link.write(space, entry * parts(entry_bits(self.config, space)), words)
