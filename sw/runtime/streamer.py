"""The streamer: takes a streamed model's token through the tile, segment after segment."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ...hdl.spec.integer import ROTARY_LOW
from ..program.program import Program
from ..program.stream import Run, put

if TYPE_CHECKING:
    from .driver import Device


class Streamer:
    """The host's side of a streamed program: while a run computes, the next segment's weights go to the idle buffer."""

    def __init__(self, device: "Device", program: Program):
        self._device, self._facts, self._stream = device, program.model, program.stream
        self._half = 0
        self._ready: Run | None = None
        """Whose weights are in the idle buffer."""
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

    def logits(self) -> np.ndarray:
        """int16 [vocab], of the token that was last run."""
        vocabulary = self._facts.shape.vocab_size
        if self._stream.chunk_logits:
            return np.concatenate(self._logits)[:vocabulary]
        return self._device.read_mem(self._facts.logits, vocabulary)

    def _token(self, token, position, wanted):
        """Makes the next token; None if it is not wanted."""
        device, stream = self._device, self._stream
        runs = list(stream.runs(wanted))
        weighty = [run for run in runs if run.section.words]
        # Another token follows, with the same first segment.
        coming = iter([*weighty, weighty[0]])
        following, chosen = next(coming), None
        self._logits = []
        for run in runs:
            if run.section.words:
                self._fetch(run)
                self._half, self._ready, following = 1 - self._half, None, next(coming)
            device.write_mem(stream.segment, self._constants(run, token, position))
            made = device.execute(run.section.entry, token=stream.operand(run, self._half, position), position=position,
                                  count=int(run.section.chooses), meanwhile=lambda following=following: self._fetch(following))
            chosen = made[0] if made else None
            if stream.chunk_logits and "classifier" in run.section.steps:
                self._logits.append(device.read_mem(self._facts.logits, stream.chunk_logits))
        if stream.chunk_logits and wanted:
            # The first of the largest, as the tile chooses.
            chosen = int(self.logits().argmax())
        return chosen

    def _fetch(self, run):
        """The weights of a run into the idle buffer, if they are not there."""
        if self._ready != run:
            stream = self._stream
            self._device.write_weights(stream.buffer + (1 - self._half) * stream.room,
                                       stream.weights[run.word:run.word + run.section.words])
            self._ready = run

    def _constants(self, run, token, position):
        """What a run needs in MEM from granule `segment` on: int16 [granules, lanes]."""
        stream, section = self._stream, run.section
        if section is not stream.begin:
            return stream.constants[run.granule:run.granule + section.granules]
        values = np.zeros((section.granules, self._device.config.lanes), np.int16)
        first = {"row": stream.embedding[token], "row_factor": np.full(values.shape[1], stream.factors[token]),
                 "low": stream.low[position % ROTARY_LOW], "high": stream.high[position // ROTARY_LOW]}
        for name, vector in first.items():
            put(values, stream.places[name], vector)
        return values
