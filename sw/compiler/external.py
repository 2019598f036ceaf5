"""The layout of a model in external memory: sections of one matrix each, in segments that come while the tile computes.

The graph is cut behind each matrix. A section is a matrix with the operations before it, back to the
matrix before; a matrix that is larger than a buffer is cut into chunks of its results. Each chunk has a
segment in external memory: its weights, then its constants. The segments lie there in the order in which
a token needs them.

W-RAM has two halves of the same size. Each has a buffer for weights, then a half of the KV cache::

    0        keys         depth / 2          values       depth
    | buffer | keys ...   | other buffer     | values ... |

While the tile computes with one buffer, the next segment comes to the other. An address register that
grows by half of W-RAM points to the two in turns, since W-RAM takes the lower bits of an address only.

If W-RAM has no room for the KV cache of all layers, it has that of one layer, and external memory has all,
behind the segments: see `far_cache.py`.
"""

from dataclasses import replace

from ...hdl.spec.config import Config
from ..model.graph import Kind
from ..program.stream import Section, arriving
from ..quant.outline import Outline
from .layout import CompileError
from .matrix import Matrix
from .streamed import StreamedLayout, joined

MOVE_CYCLES = 24
"""About what a MOVE takes beside its bursts; so many cycles more a chunk weigh against smaller chunks."""
MORE_CHUNKS = 8
"""Numbers of chunks that are tried, from the smallest on."""


def burst_bits(config: Config) -> int:
    """Bits of a burst."""
    return config.memory.part.burst_bytes * 8


def whole_granules(config: Config, granules: int) -> int:
    """So many granules, or a few more that are whole bursts."""
    parts = max(1, burst_bits(config) // (config.lanes * 16))
    return -(-granules // parts) * parts


def bursts_of(config: Config, words: int, granules: int) -> tuple[int, int]:
    """Bursts of so many words of W-RAM, and of so many granules."""
    return (words * config.cols * config.rows * config.weight_bits // burst_bits(config),
            granules * config.lanes * 16 // burst_bits(config))


class ExternalLayout(StreamedLayout):
    """The addresses of a model whose segments lie in external memory.

    W-RAM: see above. `matrices`: one chunk of each; `word` is 0, counted from the buffer. `keys`, `values`: the first words
    of the cache in the two halves; a layer's cache is `cache_stride` words in each. If weights have 4 bits, these count
    pairs of words.

    MEM: as for a `StreamedLayout`. The constants of a chunk begin with its matrix's factors.

    `buffer_words`: the most words of a segment. `room_words`: words of a half of W-RAM that the KV cache leaves.
    `far_cache`: the KV cache lies in external memory, and W-RAM has that of one layer at a time. Then the buffers
    "far keys" and "far values" in MEM have room for those of a block of positions; they share granules with what is
    not in use between a position's queries and its scores.
    """

    def __init__(self, config: Config, outline: Outline, context: int, whole: bool, buffer_words: int, why: str = "",
                 far_cache: bool = False):
        self._kept, self._buffer_words, self.far_cache = outline.groups, buffer_words, far_cache
        super().__init__(config, outline, context, whole, why)

    def _kept_groups(self, outline):
        return dict(outline.groups)

    @property
    def fits(self) -> bool:
        """Whether the layout fits the tile's memories."""
        return self.room > 0 and self.granules <= self.config.granules

    @property
    def image_bursts(self) -> int:
        """Bursts of all segments."""
        sections = [(section, self.model.n_layers) for section in self.layer_sections]
        sections += [(section, 1) for section in self.end_sections]
        return sum(times * sum(bursts_of(self.config, *arriving(self.layer_sections, self.end_sections, section, chunk)))
                   for section, times in sections for chunk in range(section.chunks))

    @property
    def logit_bursts(self) -> int:
        """Bursts of a chunk's logits."""
        granules = self.matrices["classifier"].results * self.config.beats_per_result
        return bursts_of(self.config, 0, whole_granules(self.config, granules))[1]

    @property
    def row_granules(self) -> int:
        """Granules that the keys of a position and layer take in external memory, in whole bursts; its values take as many."""
        return whole_granules(self.config, self.in_granules(self.kv_heads))

    @property
    def row_bursts(self) -> int:
        """Bursts that they take."""
        return bursts_of(self.config, 0, self.row_granules)[1]

    @property
    def keys_far(self) -> int:
        """The burst from which on external memory has the keys of all layers and positions: [layer, position, row]."""
        return self.image_bursts

    @property
    def values_far(self) -> int:
        """The burst from which on it has the values, likewise."""
        return self.keys_far + self.model.n_layers * self.context * self.row_bursts

    @property
    def cache_bursts(self) -> int:
        """Bursts of the KV cache in external memory; 0 if it is in W-RAM."""
        return 2 * (self.values_far - self.keys_far) if self.far_cache else 0

    @property
    def logits_far(self) -> int:
        """The burst from which on a token leaves its logits in external memory; 0 if they are in MEM."""
        return 0 if self.whole else self.image_bursts + self.cache_bursts

    def check_size(self) -> None:
        """CompileError if external memory is too small."""
        part, chunks = self.config.memory.part, self.classifier_chunks
        header = max(1, self.config.lanes * 2 // part.burst_bytes)
        needed = self.image_bursts + self.cache_bursts + (0 if self.whole else chunks * self.logit_bursts) + header
        if needed > part.bursts:
            cache = f", {self.cache_bursts * part.burst_bytes:,} of them for a KV cache of {self.context} positions"
            raise CompileError(f"the model takes {needed * part.burst_bytes:,} bytes of external memory"
                               f"{cache * self.far_cache}, and {self.config.name} has {part.bytes:,}: choose a larger one")

    def _lay_words(self):
        config, model = self.config, self.model
        half = config.wram_depth // 2
        self.key_words = self.key_hop = self.context // config.cols * (self.head // config.rows)
        self.value_words = self.value_hop = self.context // config.rows
        layer_words = model.n_kv_heads * max(self.key_words, self.value_head // config.cols * self.value_words)
        self.cache_stride = 0 if self.far_cache else layer_words
        self.room_words = room = half - (1 if self.far_cache else model.n_layers) * layer_words * self.halves
        self.buffer, self.keys, self.values = 0, room // self.halves, (half + room) // self.halves
        self.matrices = {operation.name: self._matrix(operation, 0, *self.shapes()[operation.name])
                         for operation in self.linears}
        most = min(room, self._buffer_words)
        if most < max(matrix.inner for matrix in self.matrices.values()):
            return
        self.layer_sections = self._sections(joined(self.graph.layer), most)
        self.end_sections = self._sections(joined(self.graph.end), min(most, self.layer_sections[0].words))
        if not self.end_sections:
            return
        self.room = max(section.words for section in (*self.layer_sections, *self.end_sections))
        self.words = config.wram_depth

    def _sections(self, parts, room):
        """A section for each matrix, of chunks of at most `room` words; [] if a result is larger."""
        sections, before = [], ()
        for part in parts:
            name = next((step for step in part if step in self.matrices), None)
            if name is None:
                before += part
                continue
            if self.matrices[name].inner > room:
                return []
            self.matrices[name], chunks = self._chunked(self.matrices[name], room)
            sections.append(replace(self._section((*before, *part), self.matrices[name].words, chunks), before=len(before)))
            before = ()
        if before:
            last = sections[-1]
            sections[-1] = replace(self._section((*last.steps, *before), last.words, last.chunks),
                                   before=last.before, after=len(before))
        return sections

    def _chunked(self, matrix, room):
        """(the matrix of a chunk, number of chunks) that take the fewest cycles of the bus."""
        config = self.config
        word = config.cols * config.rows * config.weight_bits // config.memory.part.bus_bits

        def cycles(chunks):
            return chunks * (-(-matrix.results // chunks) * matrix.inner * word + 2 * MOVE_CYCLES)

        fewest = -(-matrix.results // (room // matrix.inner))
        chunks = min(range(fewest, min(fewest + MORE_CHUNKS, matrix.results) + 1), key=cycles)
        results = -(-matrix.results // chunks)
        return Matrix(0, matrix.inner, results, matrix.groups), -(-matrix.results // results)

    def constants_of(self, step: str) -> dict[str, int]:
        operation, config = self.graph.find(step), self.config
        match operation.kind:
            case Kind.EMBED:
                # Where a granule is one value, the angles behind them, which are turned in pairs, begin with an even granule.
                by_channel = self.dim + config.lanes * (config.lanes == 1)
                return {"row": self.dim, "row_factor": by_channel if self.embedding_groups > 1 else config.lanes}
            case Kind.LINEAR:
                matrix = self.matrices[step]
                values = matrix.results * config.cols
                return {step: matrix.groups * values} | ({f"{step}_bias": values} if operation.bias else {})
        return super().constants_of(step)

    def _lay_section(self, section: Section) -> Section:
        # What all chunks have comes first, so that it lies in the same places for all.
        every, later = self._lay_every(section)
        first = {name: values for step in section.steps[:section.before] for name, values in self.constants_of(step).items()}
        # A block of positions computes a norm again for each matrix that reads it: so the norm's gains lie where the constants
        # of those matrices do not come.
        norms = {self.graph.find(step).output.name for step in section.steps[:section.before]}
        readers = [other for other in self.layer_sections if any(
            norms & set(self.graph.find(step).inputs) for step in other.steps if step in self.matrices)]
        found, end = self.lay(every, 0)
        more = {}
        if first:
            more, end = self.lay(first, max([later] + [self._lay_every(other)[1] for other in readers]))
        self._enter(found | more, every)
        return replace(section, granules=whole_granules(self.config, end), later_granules=later)

    def _lay_products(self, sizes, at):
        end = super()._lay_products(sizes, at)
        if not self.far_cache:
            return end
        values = self.config.block * self.row_granules * self.config.lanes
        return max(end, self._keep({"far keys": values, "far values": values}, at))

    def _lay_every(self, section):
        """({constant of each chunk of a section: number of values}, whole granules that they take)."""
        steps = section.steps[section.before:len(section.steps) - section.after]
        sizes = {name: values for step in steps for name, values in self.constants_of(step).items()}
        return sizes, whole_granules(self.config, self.lay(sizes, 0)[1])
