"""A streamed model: the runs of a token, and the segments of weights and constants that they need.

A model larger than the tile goes through it segment after segment. A token is a row of runs of one program. Each run does
some operations of the token, from one vector in MEM to the next; its segment, the weights of the matrices that it needs, lies
in one of two buffers in W-RAM, and while it computes the link fills the other. A matrix that is larger than a buffer goes
through it in chunks of results, one run each. What stays on the tile: the program, the KV cache of all layers, and the vectors
on their way. The constants of a segment, the embedding's row of a token and what depends on its position among them, are
written to MEM before the run. The token of a START says where its run works: see `Stream.operand`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...hdl.spec.config import Config
from ...hdl.spec.protocol import Space
from .traffic import read_words, run_words, write_words

ARRAYS = {"weights": np.int8, "constants": np.int16, "embedding": np.int8, "factors": np.int16, "low": np.int16,
          "high": np.int16, "positions": np.int16}
"""What a stream holds in arrays, and their types."""


@dataclass(frozen=True)
class Section:
    """Operations that one run does, and its part of the program.

    `steps`: names of operations. `words` of W-RAM and `granules` of constants in a segment; `chunks`: runs of the section,
    each with a segment, one after another; `entry`: its first instruction; `cached`: it uses the KV cache; `chooses`: it
    makes a token.
    """

    steps: tuple[str, ...]
    words: int = 0
    granules: int = 0
    chunks: int = 1
    entry: int = 0
    cached: bool = False
    chooses: bool = False

    @property
    def name(self) -> str:
        """Its operations, for people."""
        return ", ".join(self.steps)


@dataclass(frozen=True)
class Run:
    """A run of a token: its section, the layer and chunk, and where its segment begins in the stream's weights and
    constants."""

    section: Section
    layer: int = 0
    chunk: int = 0
    word: int = 0
    granule: int = 0


@dataclass(frozen=True, eq=False)
class Stream:
    """What a driver needs to run a streamed model: the runs of a token and their segments.

    `begin`, `layer`, `end`: sections in order, those of a layer `layers` times. Buffers of `room` words from W-RAM word
    `buffer` on; constants go to granule `segment` on, those of the first run to the `places` that follow it, by name.
    `cell`: positions that have words of W-RAM of their own, and `cells`: how many such a layer's cache has. `chunk_logits`:
    logits that each run of the classifier leaves, of which the host makes the vocabulary's and chooses, or 0 if the tile does.

    `weights`, int8 [words, cols, rows], and `constants`, int16 [granules, lanes], have the segments in the order of the
    runs; `embedding` is int8 [vocab, dim], `factors` int16 [vocab]; `low` and `high` are the tables of angles, a row for each
    position below `ROTARY_LOW`, and for each multiple of it; `positions` has a row for each position. Tables that the model
    does not have are empty.
    """

    begin: Section
    layer: tuple[Section, ...]
    end: tuple[Section, ...]
    layers: int
    buffer: int
    room: int
    segment: int
    places: dict[str, int]
    cell: int
    cells: int
    chunk_logits: int
    weights: np.ndarray
    constants: np.ndarray
    embedding: np.ndarray
    factors: np.ndarray
    low: np.ndarray
    high: np.ndarray
    positions: np.ndarray

    @classmethod
    def load(cls, facts: dict, arrays: dict[str, np.ndarray]) -> "Stream":
        """A stream from its facts, as `dataclasses.asdict` has them, and its arrays. ValueError if they do not match."""
        begin, layer, end = (tuple(Section(**part | {"steps": tuple(part["steps"])}) for part in parts)
                             for parts in ([facts["begin"]], facts["layer"], facts["end"]))
        found = cls(**facts | {"begin": begin[0], "layer": layer, "end": end}, **arrays)
        sizes = [sum(getattr(run.section, size) for run in found.runs()) - skipped
                 for size, skipped in (("words", 0), ("granules", found.begin.granules))]
        context = found.cells * found.cell
        tables = {"low": len(found.low) * len(found.high) >= context, "high": len(found.low) * len(found.high) >= context,
                  "position_row": len(found.positions) >= context}
        if ([len(found.weights), len(found.constants)] != sizes or len(found.embedding) != len(found.factors)
                or not {"row", "row_factor"} <= set(found.places)
                or not all(tables[name] for name in set(found.places) - {"row", "row_factor"})
                or any(array.dtype != ARRAYS[name] for name, array in arrays.items())):
            raise ValueError("stream")
        return found

    @property
    def sections(self) -> tuple[Section, ...]:
        """All sections, in order."""
        return (self.begin, *self.layer, *self.end)

    def runs(self, wanted: bool = True) -> Iterator[Run]:
        """The runs of a token, in order; those that choose the next only if it is `wanted`."""
        yield Run(self.begin)
        word = granule = 0
        for index in range(self.layers + wanted):
            for section in self.layer if index < self.layers else self.end:
                for chunk in range(section.chunks):
                    yield Run(section, index, chunk, word, granule)
                    word, granule = word + section.words, granule + section.granules

    def counted(self, wanted: bool = True) -> list[tuple[Section, int]]:
        """Sections with the number of their runs in a token."""
        return ([(self.begin, 1)] + [(section, section.chunks * self.layers) for section in self.layer]
                + [(section, section.chunks) for section in self.end if wanted])

    def link_words(self, config: Config, wanted: bool = True) -> int:
        """Words over the link, both ways, of a token among others."""
        words = 0
        for section, times in self.counted(wanted):
            words += times * (write_words(config, Space.WRAM, section.words * config.cols)
                              + write_words(config, Space.MEM, section.granules) + run_words(int(section.chooses)))
            if self.chunk_logits and "classifier" in section.steps:
                words += times * read_words(config, Space.MEM, -(-self.chunk_logits // config.lanes))
        return words

    def operand(self, run: Run, half: int, position: int) -> int:
        """The token that a START gives a run: from bit 1 on the chunk, or, for the cache's addresses, the layer times
        `cells` plus the position's cell; and the buffer in bit 0."""
        where = run.layer * self.cells + position // self.cell if run.section.cached else run.chunk
        return where << 1 | half

    def operands(self, section: Section, position: int) -> list[int]:
        """The lowest and the highest operand that a section is started with at a position."""
        return [self.operand(Run(section), 0, position),
                self.operand(Run(section, self.layers - 1, section.chunks - 1), 1, position)]


def put(values: np.ndarray, at: int, vector: np.ndarray) -> None:
    """A vector into int16 [granules, lanes], from a granule on."""
    values.reshape(-1)[at * values.shape[1]:][:vector.size] = vector.ravel()
