"""The layout of a streamed model: its graph is cut into sections, and each section is one or more
runs."""

from dataclasses import replace

from ...hdl.spec.config import Config
from ..model.graph import Kind
from ..program.stream import Section
from ..quant.outline import Outline
from .buffers import RESULT_BUFFERS, buffer_sizes
from .layout import Layout
from .matrix import Matrix
from .slots import Slots

MOST_TIMES = (1 << 12) - 1
"""The largest operand `times` of an INDEX, 12 bits: the largest distance of the two weight buffers
in words, of the results of two chunks in granules, and of the caches of two layers in words."""
JOINED = (Kind.SOFTMAX, Kind.VALUES, Kind.ADD, Kind.MULTIPLY, Kind.QUANTISE)
"""Kinds of operations that are always in the same run as the operation before them."""


class StreamedLayout(Layout):
    """The addresses of a streamed model. `context` is a power of two.

    W-RAM: keys, [kv head, layer, block]; values, [kv head, group of cols channels, layer, block]; from
    word `buffer` on, two buffers of `room` words for weights. `matrices`: one chunk of each; `word`
    counts from the first word of the buffer, `results` are those of the chunk.

    MEM: the constants that stay; from granule `segment` on, the constants of the current segment
    (`layer`: their offsets, for all sections); the buffers of the token.

    `whole`: the logits of the whole vocabulary are kept in MEM, and the tile chooses the next token;
    else MEM has those of a chunk, and the host chooses. `why`: why the model is not resident. `slots`: of
    the positions of a block, in the layout of a program that computes several; see `with_slots`.
    """

    def __init__(self, config: Config, outline: Outline, context: int, whole: bool = True, why: str = ""):
        self.whole, self.why, self.room, self.granules = whole, why, 0, 0
        self.slots: Slots | None = None
        self.layer_sections: list[Section] = []
        self.end_sections: list[Section] = []
        self.begin = Section(tuple(operation.name for operation in outline.graph.begin))
        # All factors and gains are in MEM, even if they are all the same.
        super().__init__(config, replace(outline, groups=self._kept_groups(outline), uniform=frozenset()), context)

    def _kept_groups(self, outline):
        """The groups of matrices: none, since weights have 8 bits."""
        return {}

    @property
    def cells(self) -> int:
        """The context in units of `cell`."""
        return self.context // self.cell

    @property
    def values_late(self) -> bool:
        """Values go to the cache in the run that makes them, before the scores."""
        return False

    @property
    def cell(self) -> int:
        """Positions of a cell, the unit in which `Stream.operand` counts positions.

        The W-RAM word of a position's key changes every cols positions, that of its value every rows
        positions; a cell is the smaller number, so both can be computed from the cell's.
        """
        return min(self.config.rows, self.config.cols)

    @property
    def fits(self) -> bool:
        """Whether the layout fits the tile's memories, and its distances the fields of
        instructions."""
        config = self.config
        return (self.room > 0 and self.words <= config.wram_depth and self.granules <= config.granules
                and max(self.key_words, self.value_words) <= MOST_TIMES
                and 2 * self.model.n_layers * self.cells <= 1 << config.token_bits)

    @property
    def sections(self) -> list[Section]:
        """All sections, in order."""
        return [self.begin, *self.layer_sections, *self.end_sections]

    def shapes(self) -> dict[str, tuple[int, int]]:
        """(outputs, inputs) of all matrices, by name, padding included."""
        return super().shapes() | {"classifier": (self.vocabulary, self.dim)}

    @property
    def classifier_chunks(self) -> int:
        """Number of runs that the classifier takes."""
        return next(section.chunks for section in self.end_sections if "classifier" in section.steps)

    def padded_results(self, name: str) -> int:
        """Outputs of a matrix, padded to whole chunks."""
        chunks = next((section.chunks for section in (*self.layer_sections, *self.end_sections) if name in section.steps), 1)
        return chunks * self.matrices[name].results * self.config.cols

    def _lay_words(self):
        config, model = self.config, self.model
        self.key_words = self.context // config.cols * (self.head // config.rows)
        self.value_words = self.context // config.rows
        self.key_hop, self.value_hop = model.n_layers * self.key_words, model.n_layers * self.value_words
        self.values = model.n_kv_heads * self.key_hop
        self.buffer = self.words = self.values + model.n_kv_heads * self.value_head // config.cols * self.value_hop
        self.matrices = {name: Matrix(0, inputs // config.rows, outputs // config.cols)
                         for name, (outputs, inputs) in self.shapes().items()}
        room = min((config.wram_depth - self.buffer) // 2, MOST_TIMES)
        if room < max(matrix.inner for matrix in self.matrices.values()):
            return
        end = self.graph.end if self.whole else self.graph.end[:-1]
        self.layer_sections = self._sections(joined(self.graph.layer), room)
        self.end_sections = self._sections(joined(end), room)
        self.room = max(section.words for section in (*self.layer_sections, *self.end_sections))
        self.words = self.buffer + 2 * self.room

    def _sections(self, parts, room):
        """Sections of operations, each with as many of the `parts` as a buffer of `room` words can
        hold.

        A part whose matrix is larger than a buffer becomes a section of several chunks of equal size.
        """
        sections, current, words = [], [], 0

        def close():
            nonlocal current, words
            if current:
                sections.append(self._section(tuple(current), words))
            current, words = [], 0

        for part in parts:
            name = next((step for step in part if step in self.matrices), None)
            matrix = self.matrices.get(name)
            size = matrix.words if matrix else 0
            if words + size > room:
                close()
            if size > room:
                most = min(room // matrix.inner, MOST_TIMES // self.config.beats_per_result)
                results = -(-matrix.results // -(-matrix.results // most))
                self.matrices[name] = Matrix(0, matrix.inner, results)
                sections.append(self._section(part, results * matrix.inner, -(-matrix.results // results)))
                continue
            if matrix:
                self.matrices[name] = Matrix(words, matrix.inner, matrix.results)
            words += size
            current += part
        close()
        return sections

    def _section(self, steps, words, chunks=1):
        kinds = {self.graph.find(step).kind for step in steps}
        return Section(steps, words, chunks=chunks, cached=Kind.SCORES in kinds, chooses=Kind.CHOOSE in kinds)

    def constants_of(self, step: str) -> dict[str, int]:
        """The constants that an operation needs in its segment: {name: number of values}."""
        operation, config, model = self.graph.find(step), self.config, self.model
        match operation.kind:
            case Kind.EMBED:
                return {"row": self.dim, "row_factor": config.lanes}
            case Kind.POSITION:
                return {"position_row": self.dim}
            case Kind.ANGLES:
                return {"low": self.head, "high": 4 * self.head}
            case Kind.NORM:
                return {step: self.dim}
            case Kind.HEAD_NORM:
                return {step: self.heads + self.kv_heads}
            case Kind.SCORES:
                return {"key_offset": self.kv_heads, "score": model.n_heads * config.lanes}
            case Kind.LINEAR:
                values = self.matrices[step].results * config.cols
                return {step: values} | ({f"{step}_bias": values} if operation.bias else {})
        return {}

    def _lay_granules(self):
        config = self.config
        self.constants, self.segment = self.lay({"one": config.lanes}, 0)

        self.begin = self._lay_section(self.begin)
        self.layer_sections = [self._lay_section(section) for section in self.layer_sections]
        self.end_sections = [self._lay_section(section) for section in self.end_sections]
        factors = {name: matrix.results * config.cols for name, matrix in self.matrices.items()}
        padded = {name: self.padded_results(name) for name in self.matrices}
        sizes = buffer_sizes(self) | {
            **self.results(padded), "logits": padded["classifier"] if self.whole else factors["classifier"],
            "factors": max(sum(factors[step] for step in section.steps if step in self.matrices) for section in self.sections)}
        words = self.in_words(self.segment + max(section.granules for section in self.sections))
        # The MXM reads queries in words, so they begin with a word.
        at = self.in_words(self._lay_products(sizes, words * config.granules_per_word)) * config.granules_per_word
        self.granules = self._keep({name: sizes[name] for name in ("q", "x", "turn", "factors", "up", "scale")}, at)
        self.buffers["o"] = self.buffers["q"]

    def _lay_section(self, section: Section) -> Section:
        """Lays the constants of a section's segment; returns the section with their granules."""
        sizes = {name: values for step in section.steps for name, values in self.constants_of(step).items()}
        found, granules = self.lay(sizes, 0)
        self._enter(found, sizes)
        return replace(section, granules=granules)

    def _enter(self, found, sizes):
        """Enters the places of a section's constants, and those of factors that are multiplied by a scalar first."""
        self.layer |= found
        self.factors |= self.lay({name: values for name, values in sizes.items() if name in self.matrices}, 0)[0]

    def results(self, padded):
        """Values of the buffers that matrices write, by name; `padded`: outputs of each matrix in
        whole chunks."""
        found = {"x": self.dim}
        for operation in self.linears:
            if operation in self.graph.layer:
                buffer = RESULT_BUFFERS[self.graph.readers(operation.output.name, self.graph.layer)[0].kind]
                found[buffer] = max(found.get(buffer, 0), padded[operation.name])
        return found


def joined(operations) -> list[tuple[str, ...]]:
    """The operations' names, in tuples: operations of the same tuple must be in the same run.

    Each operation begins a new tuple unless its kind is in `JOINED`, or it is the SCORES right after
    a ROTATE or SPLIT.
    """
    parts, rotated = [], False
    for operation in operations:
        if operation.kind in JOINED or (operation.kind is Kind.SCORES and rotated):
            parts[-1] += (operation.name,)
        else:
            parts.append((operation.name,))
        rotated = operation.kind in (Kind.ROTATE, Kind.SPLIT)
    return parts
