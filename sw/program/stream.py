"""A streamed model: the runs of a token, and the segments of weights and constants that they need.

A model larger than the tile is sent through it segment by segment. A token takes several runs of one
program, one after another; each run computes some operations of the token.

- Weights: those that a run needs are in one of two buffers in W-RAM; while it computes, the host
  fills the other over the link. A matrix larger than a buffer is cut into chunks of its results,
  with a run for each.
- Constants: the host writes those that a run needs to MEM before the run. For the first run of a
  token they include the token's row of the embedding and the rows for its position.
- The program, the KV cache of all layers, and the vectors in MEM stay on the tile.
- The operand of the START tells the run where it works: see `Stream.operand`.

On a tile with external memory the segments lie there, and a token takes one run: see
`marey.sw.compiler.external`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...hdl.spec.config import Config
from ...hdl.spec.protocol import Space
from .traffic import read_words, run_words, write_words

ARRAYS = {"weights": np.int8, "constants": np.int16, "embedding": np.int8, "factors": np.int16, "low": np.int16,
          "high": np.int16, "positions": np.int16}
"""The arrays of a `Stream`, by name, and their types."""


@dataclass(frozen=True)
class Section:
    """The operations of one run, and their part of the program.

    `steps`: names of the operations. `words`, `granules`: of weights in W-RAM and of constants in
    MEM that a segment has. `chunks`: number of runs that the section takes in a token (or in a
    layer), each with a segment of its own. `entry`: number of its first instruction. `cached`: it
    uses the KV cache. `chooses`: it makes the next token.

    In external memory all sections are parts of one run. The first `before` steps belong to the first
    chunk only, and the last `after` to the last; so the segments behind the first have fewer constants:
    `later_granules`.
    """

    steps: tuple[str, ...]
    words: int = 0
    granules: int = 0
    chunks: int = 1
    entry: int = 0
    cached: bool = False
    chooses: bool = False
    before: int = 0
    after: int = 0
    later_granules: int | None = None

    @property
    def name(self) -> str:
        """The names of the section's operations, as text."""
        return ", ".join(self.steps)

    def granules_of(self, chunk: int) -> int:
        """Granules of constants in the segment of a chunk."""
        return self.granules if not chunk or self.later_granules is None else self.later_granules

    def steps_of(self, chunk: int) -> tuple[str, ...]:
        """Names of the operations of a chunk."""
        return self.steps[self.before if chunk else 0:len(self.steps) - (self.after if chunk < self.chunks - 1 else 0)]


@dataclass(frozen=True)
class Block:
    """The positions of a prompt that are computed with one stream of weights: see `marey.sw.compiler.slots`.

    `positions`: their number; a block begins at a multiple of it. `entry`: number of the first instruction. `granule`: the
    MEM granule at which the constants of the first position's beginning lie; `stride`: granules to the next position's.

    Over the link, a section has a run for each position: `entries` are the numbers of their first instructions, for the
    section `begin` and those of `layer`, or -1 where there is nothing to do. `chunk_results`: results of a chunk, for each of
    these sections. `gains`: (granule of the last norm's gains in the constants of a section, or -1; for each section; then
    the granules that they take, and the granule of MEM to which they go).
    """

    positions: int
    entry: int
    granule: int
    stride: int
    entries: tuple[int, ...] = ()
    chunk_results: tuple[int, ...] = ()
    gains: tuple[int, ...] = ()

    def start(self, position: int) -> int:
        """The first position of the block that a position is in."""
        return position - position % self.positions


@dataclass(frozen=True)
class Run:
    """A run of a token, or, in external memory, the part of the run for one segment. `layer`, `chunk`: their numbers. `word`,
    `granule`: where its segment begins in the stream's `weights` and `constants`."""

    section: Section
    layer: int = 0
    chunk: int = 0
    word: int = 0
    granule: int = 0


@dataclass(frozen=True, eq=False)
class Stream:
    """What a driver needs to run a streamed model: the runs of a token and their segments.

    - `begin`, `layer`, `end`: the sections, in order; those of `layer` run `layers` times.
    - `buffer`, `room`: the first W-RAM word of the first weight buffer, and the words of each buffer;
      the second follows the first.
    - `segment`: the MEM granule at which a run's constants begin. `places`: {name: granule, counted
      from `segment`} of the constants of the first run.
    - `cell`: positions of a cell (see `StreamedLayout.cell`). `cells`: number of cells in the context.
    - `chunk_logits`: logits that each run of the classifier leaves; the host collects them and chooses
      the token. 0 if the tile chooses.
    - `weights`, int8 [words, cols, rows], and `constants`, int16 [granules, lanes]: the segments, in
      the order of the runs.
    - `embedding`: int8 [vocab, dim]. `factors`: int16 [vocab, groups], of its rows, one for each group of channels.
    - `low`, `high`, `positions`: int16 [rows, values], the tables by position (see
      `marey.sw.compiler.fill.tables`). A table that the model does not need is empty.
    - `external`: the segments lie in external memory, one after another in the order in which a token needs them, and a
      token takes one run, from instruction 0 on. `logits_far`: the burst from which on it leaves its logits there; 0 if
      they are in MEM. `cache_bursts`: bursts that the KV cache takes behind the segments; 0 if it is in W-RAM.
    - `block`: of a prompt's positions; None if the program computes them one by one. `no_block`: why it does, in a part of
      a line.
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
    external: bool = False
    logits_far: int = 0
    cache_bursts: int = 0
    block: Block | None = None
    no_block: str = ""

    @classmethod
    def load(cls, facts: dict, arrays: dict[str, np.ndarray]) -> "Stream":
        """A stream from its arrays, by name, and its other fields, as `dataclasses.asdict` makes
        them.

        ValueError if they do not match each other, TypeError or KeyError if a field is missing.
        """
        begin, layer, end = (tuple(Section(**part | {"steps": tuple(part["steps"])}) for part in parts)
                             for parts in ([facts["begin"]], facts["layer"], facts["end"]))
        block = facts.get("block") and Block(**{name: tuple(value) if isinstance(value, list) else value
                                                for name, value in facts["block"].items()})
        found = cls(**facts | {"begin": begin[0], "layer": layer, "end": end, "block": block}, **arrays)
        sizes = [sum(run.section.words for run in found.runs()),
                 sum(run.section.granules_of(run.chunk) for run in found.runs()) - found.begin.granules]
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
    def prompts(self) -> str:
        """How tokens of a prompt are run, in words."""
        if self.block:
            return f"in blocks of {self.block.positions} positions"
        return f"token by token, without blocks{': ' * bool(self.no_block)}{self.no_block}"

    @property
    def sections(self) -> tuple[Section, ...]:
        """All sections, in order."""
        return (self.begin, *self.layer, *self.end)

    def runs(self, wanted: bool = True) -> Iterator[Run]:
        """The runs of a token, in order; without those of `end` if the token that follows is not
        `wanted`."""
        yield Run(self.begin)
        word = granule = 0
        for index in range(self.layers + wanted):
            for section in self.layer if index < self.layers else self.end:
                for chunk in range(section.chunks):
                    yield Run(section, index, chunk, word, granule)
                    word, granule = word + section.words, granule + section.granules_of(chunk)

    def segments(self) -> Iterator[tuple[Run, int, int]]:
        """(run, words, granules) of all segments in external memory, in their order; see `arriving`."""
        for run in self.runs():
            if run.section is not self.begin:
                yield run, *arriving(self.layer, self.end, run.section, run.chunk)

    def image_bursts(self, config: Config) -> int:
        """Bursts of external memory that all segments take."""
        bits = sum(words * config.cols * config.rows * config.weight_bits + granules * config.lanes * 16
                   for _, words, granules in self.segments())
        return bits // (8 * config.memory.part.burst_bytes)

    def counted(self, wanted: bool = True) -> list[tuple[Section, int]]:
        """(section, number of its runs in a token) for each section; without `end` if no next token
        is `wanted`."""
        if self.external:
            return [(replace(self.begin, chooses=wanted), 1)]
        return ([(self.begin, 1)] + [(section, section.chunks * self.layers) for section in self.layer]
                + [(section, section.chunks) for section in self.end if wanted])

    def link_words(self, config: Config, wanted: bool = True) -> int:
        """Words over the link, both ways, that a token takes when others come before and after
        it."""
        words = 0
        for section, times in self.counted(wanted):
            words += times * (run_words(int(section.chooses)) + write_words(config, Space.WRAM, section.words * config.cols)
                              + write_words(config, Space.MEM, section.granules))
            if self.chunk_logits and "classifier" in section.steps:
                words += times * read_words(config, Space.MEM, -(-self.chunk_logits // config.lanes))
        return words

    def block_words(self, config: Config, count: int) -> int:
        """Words over the link, both ways, that a block of positions takes of which `count` are run."""
        block, first = self.block, write_words(config, Space.MEM, self.begin.granules)
        if self.external:
            return run_words(0) + block.positions * first
        words = count * first
        for number, (section, times) in enumerate(self.counted(False)):
            if number:
                words += times * write_words(config, Space.MEM, section.granules)
            if block.gains[number] >= 0:
                words += times * write_words(config, Space.MEM, block.gains[-2])
            words += times * sum(write_words(config, Space.WRAM, part * config.cols) for part in parted(section.words, count))
            words += times * count * run_words(0) * (block.entries[number] >= 0)
        return words

    def block_operand(self, config: Config, number: int, run: Run, half: int, position: int) -> int:
        """The operand with which a run of section `number` is started for a position of a block.

        As `operand`, but for a section in chunks: from bit 1 on it has the place of the chunk's results, counted in results
        from the first slot's.
        """
        if run.section.chunks == 1:
            return self.operand(run, half, position)
        slot = position % self.block.positions * (self.block.stride // config.beats_per_result)
        return (run.chunk * self.block.chunk_results[number] + slot) << 1 | half

    def block_runs(self, config: Config, positions: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        """(first instruction, position, highest operand) of the runs for positions of a block, one for each section."""
        for number, section in enumerate((self.begin, *self.layer)):
            last = Run(section, self.layers - 1, section.chunks - 1)
            for position in positions if self.block.entries[number] >= 0 else ():
                yield self.block.entries[number], position, self.block_operand(config, number, last, 1, position)

    def operand(self, run: Run, half: int, position: int) -> int:
        """The operand with which a run is started; the START has it in the place of a token.

        Bit 0: `half`, the number of the weight buffer. From bit 1 on: layer * `cells` + position //
        `cell` if the section uses the KV cache, else the number of the chunk.
        """
        where = run.layer * self.cells + position // self.cell if run.section.cached else run.chunk
        return where << 1 | half

    def operands(self, section: Section, position: int) -> list[int]:
        """[lowest, highest] operand that a section is started with at a position."""
        return [self.operand(Run(section), 0, position),
                self.operand(Run(section, self.layers - 1, section.chunks - 1), 1, position)]


def arriving(layer: Sequence[Section], end: Sequence[Section], section: Section, chunk: int) -> tuple[int, int]:
    """Words and granules of a chunk's segment in external memory.

    What brings the first segment of a layer also brings the first behind the last layer, so the smaller of
    the two is filled up with zeros to the size of the larger.
    """
    firsts = (layer[0], end[0])
    if not chunk and section in firsts:
        return max(each.words for each in firsts), max(each.granules for each in firsts)
    return section.words, section.granules_of(chunk)


def parted(words: int, count: int) -> list[int]:
    """So many words in `count` parts of about the same size; parts of 0 words are left out."""
    return [part for part in (words * (number + 1) // count - words * number // count for number in range(count)) if part]


def put(values: np.ndarray, at: int, vector: np.ndarray) -> None:
    """Writes a vector of int16 into `values`, int16 [granules, lanes], from granule `at` on."""
    values.reshape(-1)[at * values.shape[1]:][:vector.size] = vector.ravel()
