"""Streaming: a model larger than the tile goes through it segment after segment.

A token is a row of runs of one program. Each run does some steps of the token, from one vector in MEM to the next;
its segment, the weights of the matrices that it needs, lies in one of two buffers in W-RAM, and while it computes the
link fills the other. A matrix that is larger than a buffer goes through it in chunks of results, one run each. What stays
on the tile: the program, the KV cache of all layers, and the vectors on their way. The constants of a segment, the
embedding's row of a token and the angles of its position among them, are written to MEM before the run.

The token of a START says where its run works: see `Stream.operand`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from ...hdl.spec.config import Config
from ...hdl.spec.isa import TOKEN_BITS
from ...hdl.spec.protocol import Space
from ..model.config import ModelConfig
from ..quant.model import QuantisedModel
from ..runtime.link import read_words, run_words, write_words
from .filling import ONE, layer_constants, layer_linears, place, rotary_rows
from .layout import ADVICE, FEWEST_POSITIONS, CompileError, Layout, Matrix, check_shape

LAYER = ("attention norm", "qk", "v", "attention", "wo", "ffn norm", "w1", "w3", "activation", "w2")
"""Steps of a layer, in order. A matrix is a step by its name."""
END = ("final norm", "classifier", "choice")
"""Steps after the last layer, for a token that is wanted."""
FIRST = ("row", "row_factor", "low", "high")
"""What a token begins with: its row of the embedding and the factor, and the two angles that make its position's."""
CONSTANTS = {"embedding": FIRST, "attention norm": ("attention_norm",), "attention": ("key_offset", "score"),
             "ffn norm": ("ffn_norm",), "final norm": ("final_norm",)}
"""What a step needs besides a matrix's factors."""
ARRAYS = {"weights": np.int8, "constants": np.int16, "embedding": np.int8, "factors": np.int16, "low": np.int16,
          "high": np.int16}
"""What a stream holds in arrays, and their types."""
MOST_STEPS = (1 << 12) - 1
"""INDEX multiplies by 12 bits: buffers lie that far apart at most, and so do chunks' results and layers' caches."""


@dataclass(frozen=True)
class Section:
    """Steps that one run does, and its part of the program.

    `words` of W-RAM and `granules` of constants in a segment; `chunks`: runs of the section, each with a segment, one after
    another; `entry`: its first instruction.
    """

    steps: tuple[str, ...]
    words: int = 0
    granules: int = 0
    chunks: int = 1
    entry: int = 0

    @property
    def name(self) -> str:
        return ", ".join(self.steps)

    @property
    def cached(self) -> bool:
        """It uses the KV cache."""
        return "attention" in self.steps

    @property
    def chooses(self) -> bool:
        """It makes a token."""
        return "choice" in self.steps


@dataclass
class StreamedLayout(Layout):
    """Where everything of a streamed model lies. `context` is a power of two.

    W-RAM: keys [kv head, layer, block], values [kv head, group of cols, layer, block], then two buffers of `room` words
    from `buffer` on. `matrices` are chunks: their `word` counts from the buffer's first, `results` are those of a chunk.
    MEM: the constants of a segment from granule `segment` on (`layer`: their offsets from there, the
    embedding's and the end's among them), the buffers. `whole`: the logits of the whole vocabulary are kept in MEM, and the
    tile chooses among them; else those of a chunk, and the host does.
    """

    whole: bool = True
    why: str = ""
    """Why the model is not resident."""
    segment: int = 0
    buffer: int = 0
    room: int = 0
    layer_sections: list[Section] = field(default_factory=list)
    end_sections: list[Section] = field(default_factory=list)
    begin: Section = Section(("embedding",))

    @property
    def cells(self) -> int:
        """Positions of a layer's cache, in units of `cell`."""
        return self.context // self.cell

    @property
    def cell(self) -> int:
        """Positions that have words of W-RAM of their own, be it for keys or for values."""
        return min(self.config.rows, self.config.cols)

    @property
    def fits(self) -> bool:
        """It is within the tile's memories, and within what instructions can count."""
        config = self.config
        return (self.room > 0 and self.words <= config.wram_depth and self.granules <= config.granules
                and max(self.key_words, self.value_words) <= MOST_STEPS
                and 2 * self.model.n_layers * self.cells <= 1 << TOKEN_BITS)

    def shapes(self):
        return super().shapes() | {"classifier": (self.vocabulary, self.dim)}

    @property
    def classifier_chunks(self) -> int:
        return next(section.chunks for section in self.end_sections if "classifier" in section.steps)

    def padded_results(self, name: str) -> int:
        """Outputs of a matrix, filled up to whole chunks."""
        chunks = next((section.chunks for section in (*self.layer_sections, *self.end_sections) if name in section.steps), 1)
        return chunks * self.matrices[name].results * self.config.cols

    def _lay_words(self):
        config, model = self.config, self.model
        self.key_words = self.context // config.cols * (self.head // config.rows)
        self.value_words = self.context // config.rows
        self.key_hop, self.value_hop = model.n_layers * self.key_words, model.n_layers * self.value_words
        self.values = model.n_kv_heads * self.key_hop
        self.buffer = self.words = self.values + model.n_kv_heads * self.head // config.cols * self.value_hop
        self.matrices = {name: Matrix(0, inputs // config.rows, outputs // config.cols)
                         for name, (outputs, inputs) in self.shapes().items()}
        room = min((config.wram_depth - self.buffer) // 2, MOST_STEPS)
        if room < max(matrix.inner for matrix in self.matrices.values()):
            return
        self.layer_sections = self._sections(LAYER, room)
        self.end_sections = self._sections(END if self.whole else END[:-1], room)
        self.room = max(section.words for section in (*self.layer_sections, *self.end_sections))
        self.words = self.buffer + 2 * self.room

    def _sections(self, steps, room):
        """As many steps a section as have room; a matrix that has none is alone, in chunks of equal size."""
        sections, current, words = [], [], 0

        def close():
            nonlocal current, words
            if current:
                sections.append(Section(tuple(current), words))
            current, words = [], 0

        for step in steps:
            matrix = self.matrices.get(step)
            size = matrix.words if matrix else 0
            if words + size > room:
                close()
            if size > room:
                most = min(room // matrix.inner, MOST_STEPS // self.config.beats_per_result)
                results = -(-matrix.results // -(-matrix.results // most))
                self.matrices[step] = Matrix(0, matrix.inner, results)
                sections.append(Section((step,), results * matrix.inner, chunks=-(-matrix.results // results)))
                continue
            if matrix:
                self.matrices[step] = Matrix(words, matrix.inner, matrix.results)
            words += size
            current.append(step)
        close()
        return sections

    def _lay_granules(self):
        config, model = self.config, self.model
        sizes = {"row": self.dim, "row_factor": config.lanes, "low": self.head, "high": 4 * self.head,
                 "attention_norm": self.dim, "ffn_norm": self.dim,
                 "final_norm": self.dim, "key_offset": self.kv_heads, "score": model.n_heads * config.lanes}
        factors = {name: matrix.results * config.cols for name, matrix in self.matrices.items()}
        sizes |= factors
        self.constants, self.segment = self._lay({"one": config.lanes}, 0)

        def lay(section):
            names = [name for step in section.steps for name in CONSTANTS.get(step, (step,) * (step in self.matrices))]
            found, granules = self._lay({name: sizes[name] for name in names}, 0)
            self.layer |= found
            factors, _ = self._lay({name: sizes[name] for name in names if name in self.matrices}, 0)
            self.factors |= factors
            return Section(section.steps, section.words, granules, section.chunks)

        self.begin = lay(self.begin)
        self.layer_sections = [lay(section) for section in self.layer_sections]
        self.end_sections = [lay(section) for section in self.end_sections]
        sections = [self.begin, *self.layer_sections, *self.end_sections]
        padded = self.padded_results
        sizes = self._sizes() | {
            "x": max(self.dim, padded("wo"), padded("w2")), "qk": padded("qk"), "v": padded("v"), "gate": padded("w1"),
            "up": padded("w3"), "logits": padded("classifier") if self.whole else factors["classifier"],
            "factors": max(sum(factors[step] for step in section.steps if step in self.matrices) for section in sections)}
        words = self.in_words(self.segment + max(section.granules for section in sections))
        # Queries are read in words.
        at = self.in_words(self._lay_products(sizes, words * config.granules_per_word)) * config.granules_per_word
        self.granules = self._keep({name: sizes[name] for name in ("q", "x", "turn", "factors", "up", "scale")}, at)
        self.buffers["o"] = self.buffers["q"]


def plan_streamed(config: Config, model: ModelConfig, resident: str = "") -> StreamedLayout:
    """The layout with the largest context that fits, the cache taking up to half of W-RAM, or more if that has no room for
    a short one. CompileError if there is none, which begins with why the model cannot be `resident`."""
    check_shape(config, model)
    if config.weight_bits != 8:
        raise CompileError(f"{resident.removesuffix(ADVICE)}; streamed, weights need 8 bits{ADVICE}")
    if config.wram_ports == 1:
        raise CompileError(f"{resident.removesuffix(ADVICE)}; streamed, W-RAM needs a second port, for weights that "
                           f"come during a run{ADVICE}")
    if not config.whole:
        raise CompileError(f"{resident.removesuffix(ADVICE)}; streamed, all of MEM must be readable{ADVICE}")
    context = max(config.block, 1 << (model.seq_len - 1).bit_length())
    fewest = max(config.block, min(context, FEWEST_POSITIONS))
    while True:
        for whole in (True, False):
            layout = StreamedLayout(config, model, context, whole=whole, why=resident)
            if layout.fits and (layout.buffer <= config.wram_depth // 2 or context == fewest):
                return layout
        if context == fewest:
            widest = max(matrix.inner for matrix in layout.matrices.values())
            raise CompileError(
                f"{resident.removesuffix(ADVICE)}; streamed, {layout.buffer} W-RAM words for the KV cache, 2 x {widest} for "
                f"weights, and {-(-layout.granules // config.granules_per_word)} MEM words{ADVICE}")
        context //= 2


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
    `buffer` on; constants go to granule `segment` on, those of `FIRST` to the `places` that follow it. `cell`
    and `cells` as in `StreamedLayout`. `chunk_logits`: logits that each run of the classifier leaves, of which the host
    makes the vocabulary's and chooses, or 0 if the tile does.

    `weights`, int8 [words, cols, rows], and `constants`, int16 [granules, lanes], have the segments in the order of the
    runs; `embedding` is int8 [vocab, dim], `factors` int16 [vocab]; `low` and `high` are as `filling.rotary_rows` has them.
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

    @classmethod
    def load(cls, facts: dict, arrays: dict[str, np.ndarray]) -> "Stream":
        """A stream from its facts, as `dataclasses.asdict` has them, and its arrays. ValueError if they do not match."""
        begin, layer, end = (tuple(Section(**part | {"steps": tuple(part["steps"])}) for part in parts)
                             for parts in ([facts["begin"]], facts["layer"], facts["end"]))
        found = cls(**facts | {"begin": begin[0], "layer": layer, "end": end}, **arrays)
        sizes = [sum(getattr(run.section, size) for run in found.runs()) - skipped
                 for size, skipped in (("words", 0), ("granules", found.begin.granules))]
        if ([len(found.weights), len(found.constants)] != sizes or len(found.embedding) != len(found.factors)
                or set(found.places) != set(FIRST) or len(found.low) * len(found.high) < found.cells * found.cell
                or any(array.dtype != ARRAYS[name] for name, array in arrays.items())):
            raise ValueError("stream")
        return found

    @property
    def sections(self) -> tuple[Section, ...]:
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


def fill_stream(layout: StreamedLayout, model: QuantisedModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The segments' weights and constants (see `Stream`), and the constants that stay, int16 [granules, lanes]."""
    config = layout.config
    weights, constants = [], []

    def segments(sections, linears, vectors):
        for section in sections:
            for chunk in range(section.chunks):
                values = np.zeros((section.granules, config.lanes), np.int16)
                for name in section.steps:
                    if name in linears:
                        matrix = layout.matrices[name]
                        outputs = slice(chunk * matrix.results * config.cols, (chunk + 1) * matrix.results * config.cols)
                        weights.append(place(config, linears[name].weight[outputs], matrix))
                        put(values, layout.layer[name], linears[name].factors[0, outputs])
                    for constant in CONSTANTS.get(name, ()):
                        put(values, layout.layer[constant], vectors[constant])
                constants.append(values)

    for index in range(model.config.n_layers):
        linears = layer_linears(layout, model, index)
        segments(layout.layer_sections, linears, layer_constants(layout, model, index))
    segments(layout.end_sections, {"classifier": _filled_up(layout, model)},
             {"final_norm": np.broadcast_to(model.vector("final_norm"), model.config.dim)})
    return np.concatenate(weights), np.concatenate(constants), np.full((layout.segment, config.lanes), ONE, np.int16)


def put(values: np.ndarray, at: int, vector: np.ndarray) -> None:
    """A vector into int16 [granules, lanes], from a granule on."""
    values.reshape(-1)[at * values.shape[1]:][:vector.size] = vector.ravel()


def _filled_up(layout, model):
    """The classifier; what fills it up is like the last token, and never chosen, since the first of two is."""
    classifier = model.linears["classifier"]
    last = np.minimum(np.arange(layout.padded_results("classifier")), model.config.vocab_size - 1)
    return replace(classifier, weight=classifier.weight[last], multiplier=classifier.factors[:, last])


def stream(layout: StreamedLayout, entries: dict[tuple[str, ...], int], weights: np.ndarray, constants: np.ndarray,
           embedding: np.ndarray, factors: np.ndarray) -> Stream:
    """A stream of a layout; `entries`: the first instruction of each section, by its steps."""
    begin, layer, end = (tuple(Section(part.steps, part.words, part.granules, part.chunks, entries[part.steps])
                               for part in parts)
                         for parts in ((layout.begin,), layout.layer_sections, layout.end_sections))
    matrix = layout.matrices["classifier"]
    return Stream(begin[0], layer, end, layout.model.n_layers, layout.buffer, layout.room, layout.segment,
                  {name: layout.layer[name] for name in FIRST}, layout.cell, layout.cells,
                  0 if layout.whole else matrix.results * layout.config.cols, weights, constants, embedding, factors,
                  **rotary_rows(layout))
