"""The layout: where everything of a model lies in MEM and in W-RAM.

MEM: constants first, then the buffers of a token. W-RAM: layers, all uniform, each with its matrices and its part of
the KV cache; then the classifier, and the embedding if it is not the same. Keys and queries of heads that are no
multiple of the block are filled up with zeros, and so is every vector.
"""

from dataclasses import dataclass, field

from ...hdl.spec import integer
from ...hdl.spec.config import Config
from ...hdl.spec.errors import MareyError
from ...hdl.spec.isa import TOKEN_BITS
from ..model.config import ModelConfig

MATRICES = ("qk", "v", "wo", "w1", "w3", "w2")
"""Of a layer, in the order of use."""
SCALED = ("qk", "v", "w1", "w3", "w2")
"""Those whose inputs have a scalar."""
FEWEST_POSITIONS = 16
ADVICE = ": choose a larger configuration"


class CompileError(MareyError):
    """A model that this configuration cannot run; one line with the reason."""


@dataclass(frozen=True)
class Matrix:
    """A matrix in W-RAM: `word`, from the layer's first; `inner` words a result, `results` of cols outputs each; `groups` of
    inputs, each with factors of its own."""

    word: int
    inner: int
    results: int
    groups: int = 1

    @property
    def words(self) -> int:
        return self.inner * self.results


@dataclass
class Layout:
    """Addresses: MEM in granules (`constants`, `buffers`, by name), W-RAM in words.

    `constants` of a layer lie at the same offsets from `layer_constants` on, `constants_stride` apart; so do matrices and
    cache from word 0 on, `words_stride` apart. `context`: positions that the cache has room for. `groups`, `uniform`: see
    `QuantisedModel`.
    """

    config: Config
    model: ModelConfig
    context: int
    groups: dict[str, int] = field(default_factory=dict)
    uniform: frozenset[str] = frozenset()
    head: int = 0
    """Values of a head, zeros included."""
    matrices: dict[str, Matrix] = field(default_factory=dict)
    keys: int = 0
    values: int = 0
    key_words: int = 0
    """Words of one head's keys, likewise of its values; pairs of words where weights have 4 bits, as of `keys`, `values` and
    `cache_stride`, which is that of layers."""
    value_words: int = 0
    key_hop: int = 0
    """From one head's keys to the next one's, likewise from one group of cols values to the next."""
    value_hop: int = 0
    cache_stride: int = 0
    words_stride: int = 0
    classifier: Matrix | None = None
    embedding: int = 0
    words: int = 0
    constants: dict[str, int] = field(default_factory=dict)
    layer_constants: int = 0
    layer: dict[str, int] = field(default_factory=dict)
    constants_stride: int = 0
    buffers: dict[str, int] = field(default_factory=dict)
    factors: dict[str, int] = field(default_factory=dict)
    """Where a matrix's factors lie in the buffer `factors`, from its first granule on."""
    granules: int = 0
    constants_end: int = 0
    """Constants lie from `low` to before this granule."""
    reads: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """Where from and to before where a token reads MEM, by port as in `Config.windows`."""

    def __post_init__(self):
        config, model = self.config, self.model
        block = config.block
        self.context = -(-self.context // block) * block
        self.head = self.padded(model.head_dim)
        self._lay_words()
        self._lay_granules()

    def padded(self, values: int) -> int:
        """The length of a vector in MEM: whole blocks, so that it is whole words and whole results."""
        return -(-values // self.config.block) * self.config.block

    def in_granules(self, values: int) -> int:
        return values // self.config.lanes

    def in_words(self, granules: int) -> int:
        """Words of MEM that so many granules fill, the last perhaps in part."""
        return -(-granules // self.config.granules_per_word)

    @property
    def halves(self) -> int:
        """W-RAM words of a word of the cache, which has 8 bits a value."""
        return 8 // self.config.weight_bits

    @property
    def readable(self) -> bool:
        """All that a token reads of MEM is in the windows of its ports."""
        return all(self.config.windows[port].covers(*span) for port, spans in self.reads.items() for span in spans)

    @property
    def dim(self) -> int:
        return self._whole(self.model.dim, "qk", "v", "w1", "w3", "classifier", "embedding")

    @property
    def hidden(self) -> int:
        return self._whole(self.model.hidden_dim, "w2")

    def _whole(self, values, *matrices):
        """The length in MEM of what these matrices have as inputs: whole groups of each."""
        unit = max(self.config.block, *(self.groups.get(name, 1) for name in matrices))
        return -(-values // unit) * unit

    @property
    def vocabulary(self) -> int:
        return self.padded(self.model.vocab_size)

    @property
    def heads(self) -> int:
        return self.model.n_heads * self.head

    @property
    def kv_heads(self) -> int:
        return self.model.n_kv_heads * self.head

    def shapes(self) -> dict[str, tuple[int, int]]:
        """(outputs, inputs) of a layer's matrices, filled up."""
        return {"qk": (self.heads + self.kv_heads, self.dim), "v": (self.kv_heads, self.dim), "wo": (self.dim, self.heads),
                "w1": (self.hidden, self.dim), "w3": (self.hidden, self.dim), "w2": (self.dim, self.hidden)}

    def _lay(self, sizes: dict[str, int], at: int) -> tuple[dict[str, int], int]:
        """Vectors of so many values: their granules from `at` on, and where they end."""
        found = {}
        for name, values in sizes.items():
            found[name] = at
            at += self.in_granules(values)
        return found, at

    def _lay_words(self):
        config, model = self.config, self.model
        word = 0
        for name, (outputs, inputs) in self.shapes().items():
            self.matrices[name] = self._matrix(name, word, outputs, inputs)
            word += self.matrices[name].words
        self.keys = -(-word // self.halves)
        self.key_words = self.context // config.cols * (self.head // config.rows)
        self.value_words = self.context // config.rows
        self.key_hop, self.value_hop = self.key_words, self.value_words
        self.values = self.keys + model.n_kv_heads * self.key_words
        self.cache_stride = self.values + model.n_kv_heads * (self.head // config.cols) * self.value_words
        self.words_stride = self.cache_stride * self.halves
        self.classifier = self._matrix("classifier", self.words_stride * model.n_layers, self.vocabulary, self.dim)
        self.embedding, self.words = self.classifier.word, self.classifier.word + self.classifier.words
        if not model.tied:
            self.embedding, self.words = self.words, self.words + self.classifier.words

    def _matrix(self, name, word, outputs, inputs):
        group = self.groups.get(name, inputs)
        # A group of wo's inputs is a head, zeros included.
        groups = self.model.n_heads if name == "wo" and name in self.groups else inputs // group
        return Matrix(word, inputs // self.config.rows, outputs // self.config.cols, groups)

    @property
    def embedding_groups(self) -> int:
        return self.dim // self.groups.get("embedding", self.dim)

    def _factors(self, name, values):
        """How many values a matrix's factors take."""
        return self.config.lanes if name in self.uniform else values

    def _gain(self, name):
        """Likewise those of a norm."""
        return 0 if name in self.uniform else self.dim

    def _lay_granules(self):
        """From what the MXM reads, too, to what the VXM reads as y alone, so that each of `Config.windows` has its part."""
        config, model, lanes = self.config, self.model, self.config.lanes
        sizes, windows = self._sizes(), config.windows
        factors = {name: self._factors(name, matrix.groups * matrix.results * config.cols)
                   for name, matrix in (self.matrices | {"classifier": self.classifier}).items()}
        at = self._lay_products(sizes, 0)
        act = [(0, self.in_words(at))]
        self.constants, at = self._lay({"low": sizes["low"], "one": lanes}, at)
        # Those that a scalar goes into first are read as x, the others as y.
        scaled = {name: factors[name] for name in SCALED if name not in self.groups}
        self.layer, start = self._lay(scaled, 0)
        rest, self.constants_stride = self._lay({
            "attention_norm": self._gain("attention_norm"), "ffn_norm": self._gain("ffn_norm"),
            **{name: factors[name] for name in MATRICES if name not in scaled}, "key_offset": self.kv_heads,
            "score": model.n_heads * lanes}, start)
        self.layer |= rest
        self.layer_constants = max(at, windows["y"].first - start)
        at = self._keep({"x": sizes["x"], "scale": lanes}, self.layer_constants + model.n_layers * self.constants_stride)
        looked_up, at = self._lay({"embedding": self._factors("embedding", self.embedding_groups * self.vocabulary)}, at)
        x = [(0, at)]
        rest, at = self._lay({"high": sizes["high"], "final_norm": self._gain("final_norm"),
                              "classifier": factors["classifier"]}, at)
        self.constants, self.constants_end = self.constants | looked_up | rest, at
        at = self._keep({"turn": sizes["turn"]}, at)
        at = max(self._keep({"factors": sizes["attention factors"]}, at),
                 self._keep({"factors": sizes["factors"], "up": sizes["up"]}, at))
        self.factors = {"qk": 0, "v": self.in_granules(factors["qk"]), "w1": 0, "w3": self.in_granules(factors["w1"]), "w2": 0}
        y = [(self.layer_constants + start, at)]
        queries = max(self.in_words(at), windows["act"].first)
        # Attention's output takes the place of its queries.
        self.granules = self._keep({"q": sizes["q"]}, queries * config.granules_per_word)
        self.buffers["o"] = self.buffers["q"]
        self.reads = {"act": [*act, (queries, self.in_words(self.granules))], "x": x, "y": y}

    def _sizes(self):
        """Values of the buffers, and of the tables of angles. `factors`: of the feed-forward block's matrices."""
        model, lanes = self.model, self.config.lanes
        qk, v, w1, w3, w2 = (self._factors(name, self.shapes()[name][0]) for name in SCALED)
        return {
            "low": integer.ROTARY_LOW * self.head, "high": -(-self.context // integer.ROTARY_LOW) * 4 * self.head,
            "x": self.dim, "gained": self.dim, "input": max(self.dim, self.hidden), "qk": self.heads + self.kv_heads,
            "v": self.kv_heads if self.halves > 1 or self.config.wram_ports == 1 else 0, "q": self.heads, "k": self.kv_heads,
            "turn": 2 * self.head, "score": model.n_heads * self.context, "gate": self.hidden, "up": self.hidden,
            "attention factors": qk + v, "factors": max(w1 + w3, w2), "logits": self.vocabulary, "scale": lanes}

    def _lay_products(self, sizes, at):
        """What products read and most of what they make, never needed at once: vectors beside the int8 `input`, as far as that
        is in use, and in place of all of them the scores."""
        hidden, norm = self._keep({"input": sizes["input"]}, at), at + self.in_granules(self.dim)
        return max(self._keep({name: sizes[name] for name in names}, start) for start, names in (
            (hidden, ("gained",)), (norm, ("qk", "k", "v")), (hidden, ("gate",)), (norm, ("logits",)), (at, ("score",))))

    def _keep(self, sizes, at):
        """Lays buffers one after another; returns where they end."""
        found, end = self._lay(sizes, at)
        self.buffers |= found
        return end


def check_shape(config: Config, model: ModelConfig) -> None:
    """CompileError for a model that a tile like this cannot run, however large its memories."""
    if model.head_dim % 2:
        raise CompileError(f"heads of {model.head_dim} values cannot be turned in pairs")
    products = max(max(model.dim, model.hidden_dim) << config.weight_bits - 1, model.head_dim << 7) << 7
    if products >= 1 << config.accumulator_bits - 1:
        raise CompileError(f"dot products of {max(model.dim, model.hidden_dim)} values need more than the "
                           f"{config.accumulator_bits} bits of {config.name}'s sums{ADVICE}")
    if model.vocab_size > 1 << TOKEN_BITS:
        raise CompileError(f"a token has {TOKEN_BITS} bits, and the model's vocabulary {model.vocab_size} entries")


def plan(config: Config, model: ModelConfig, groups: dict[str, int], uniform: frozenset[str]) -> Layout:
    """The layout with the largest context, up to the model's, that fits. CompileError if even a short one does not.

    `groups`, `uniform`: see `QuantisedModel`.
    """
    check_shape(config, model)
    if any(group % config.rows for name, group in groups.items() if name != "wo"):
        raise CompileError(f"groups of {min(groups.values())} inputs are no whole words of {config.rows}: quantise in larger "
                           "groups")
    context = model.seq_len
    while True:
        layout = Layout(config, model, context, groups, uniform)
        fits = layout.words <= config.wram_depth and layout.granules <= config.granules and layout.readable
        if fits and layout.context << 14 < 1 << config.accumulator_bits - 1:
            return layout
        if context <= FEWEST_POSITIONS:
            parts = "" if config.whole else " (of which {act} for the MXM, and {x} and {y} granules for the VXM)".format(
                **{port: window.depth for port, window in config.windows.items()})
            raise CompileError(f"with {context} positions the model needs {layout.words} W-RAM words and "
                               f"{-(-layout.granules // config.granules_per_word)} MEM words, and {config.name} has "
                               f"{config.wram_depth} and {config.mem_depth}{parts}{ADVICE}")
        context //= 2
