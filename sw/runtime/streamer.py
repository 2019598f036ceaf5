"""The runner of a streamed program: takes a token through the tile in many runs, each with a segment of the weights."""

from collections.abc import Callable, Sequence
from itertools import accumulate

import numpy as np

from ...hdl.spec.config import Config
from ...hdl.spec.integer import ROTARY_LOW
from ..program.program import Program
from ..program.stream import Run, Stream, parted, put
from .session import Session


class Streamer:
    """Makes tokens with a streamed program.

    W-RAM has two buffers for segments: while a run computes with one, the next segment is written to the other, the idle one.
    """

    def __init__(self, session: Session, program: Program):
        self._session, self._program = session, program
        self._facts, self._stream = program.model, program.stream
        self._half = 0
        self._fetched: Run | None = None
        """The run whose weights are in the idle buffer."""
        self._logits: list[np.ndarray] = []

    def tokens(self, token: int, position: int, count: int, show: Callable[[int], None]) -> list[int]:
        """Takes a token at a position through all its runs, and those that follow, until `count` are made."""
        made: list[int] = []
        for at in range(position, position + max(count, 1)):
            chosen = self._token(token, at, bool(count))
            if count:
                token = chosen
                made.append(token)
                show(token)
        return made

    def block(self, tokens: Sequence[int], position: int) -> None:
        """Takes tokens of a prompt, from a position on, through the sections: each section's weights are sent once, and it has
        a run for each position."""
        session, stream, block = self._session, self._stream, self._stream.block
        runs, positions = list(stream.runs(False)), range(position, position + len(tokens))
        sections = [stream.begin, *stream.layer]
        with_weights = [run for run in runs if run.section.words]
        upcoming = iter([*with_weights, with_weights[0]])
        following = next(upcoming)
        for number, token in enumerate(tokens):
            slot = (position + number) % block.positions
            session.write_mem(block.granule + slot * block.stride,
                              first_constants(session.config, stream, token, position + number))
        for run in runs:
            number = next(index for index, section in enumerate(sections) if section is run.section)
            if run.section.words:
                self._fetch(run)
                self._half, self._fetched, following = 1 - self._half, None, next(upcoming)
            if number:
                session.write_mem(stream.segment, self._constants(run, 0, 0))
            if block.entries[number] < 0:
                continue
            parts = iter(self._parts(following, len(tokens)))
            for at in positions:
                session.execute(self._program, block.entries[number], position=at, count=0,
                                token=stream.block_operand(session.config, number, run, self._half, at),
                                meanwhile=lambda run=following, part=next(parts, None): self._fetch_part(run, part))
            self._fetched = following
            if block.gains[number] >= 0:
                # Later sections compute the section's last norm again; the section itself may do so with the norm before it.
                first, (count, place) = run.granule + block.gains[number], block.gains[-2:]
                session.write_mem(place, stream.constants[first:first + count])

    def _parts(self, run, count):
        """(first word, words) of parts of a run's weights that are sent during `count` runs; none if they are there."""
        if self._fetched == run:
            return []
        parts = parted(run.section.words, count)
        return list(zip(accumulate(parts, initial=0), parts, strict=False))

    def _fetch_part(self, run, part):
        """Writes a part of a run's weights, (first word, words), to the idle buffer; nothing for None."""
        if part:
            stream, (first, words) = self._stream, part
            self._session.write_weights(stream.buffer + (1 - self._half) * stream.room + first,
                                        stream.weights[run.word + first:run.word + first + words])

    def logits(self) -> np.ndarray:
        """The integer logits, int16 [vocab], of the token that was run last."""
        vocabulary = self._facts.shape.vocab_size
        if self._stream.chunk_logits:
            return np.concatenate(self._logits)[:vocabulary]
        return self._session.read_mem(self._facts.logits, vocabulary)

    def _token(self, token, position, wanted):
        """Makes the next token; returns None if it is not wanted."""
        session, stream = self._session, self._stream
        runs = list(stream.runs(wanted))
        with_weights = [run for run in runs if run.section.words]
        # Another token follows, which begins with the same segment.
        upcoming = iter([*with_weights, with_weights[0]])
        following, chosen = next(upcoming), None
        self._logits = []
        for run in runs:
            if run.section.words:
                self._fetch(run)
                self._half, self._fetched, following = 1 - self._half, None, next(upcoming)
            session.write_mem(stream.segment, self._constants(run, token, position))
            made = session.execute(self._program, run.section.entry, token=stream.operand(run, self._half, position),
                                   position=position, count=int(run.section.chooses),
                                   meanwhile=lambda following=following: self._fetch(following))
            chosen = made[0] if made else None
            if stream.chunk_logits and "classifier" in run.section.steps:
                self._logits.append(session.read_mem(self._facts.logits, stream.chunk_logits))
        if stream.chunk_logits and wanted:
            # The first of the largest, as the tile chooses.
            chosen = int(self.logits().argmax())
        return chosen

    def _fetch(self, run):
        """Writes the weights of a run to the idle buffer, unless they are there."""
        if self._fetched != run:
            stream = self._stream
            self._session.write_weights(stream.buffer + (1 - self._half) * stream.room,
                                        stream.weights[run.word:run.word + run.section.words])
            self._fetched = run

    def _constants(self, run, token, position):
        """The values that a run needs in MEM from granule `segment` on: int16 [granules, lanes]."""
        stream, section = self._stream, run.section
        if section is not stream.begin:
            return stream.constants[run.granule:run.granule + section.granules]
        return first_constants(self._session.config, stream, token, position)


def first_constants(config: Config, stream: Stream, token: int, position: int) -> np.ndarray:
    """The values that a token needs in MEM from granule `segment` on when it begins: int16 [granules, lanes]."""
    values = np.zeros((stream.begin.granules, config.lanes), np.int16)
    tables = {"row": (stream.embedding, token), "low": (stream.low, position % ROTARY_LOW),
              "high": (stream.high, position // ROTARY_LOW), "position_row": (stream.positions, position)}
    for name, granule in stream.places.items():
        if name == "row_factor":
            # One factor for the row, or one for each group of its channels.
            factors = stream.factors[token]
            channels = (granule - stream.places["row"]) * config.lanes if len(factors) > 1 else config.lanes
            put(values, granule, np.repeat(factors, channels // len(factors)))
        else:
            table, index = tables[name]
            put(values, granule, table[index])
    return values
