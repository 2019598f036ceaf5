"""The layout: where everything of a model lies in MEM and in W-RAM.

MEM: constants first, then the buffers of a token. W-RAM: layers, all alike, each with its matrices and its part of
the KV cache; then the classifier, and the embedding if it is not the same. Keys and queries of heads that are no
multiple of the block are filled up with zeros, and so is every vector.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from ..hdl import integer
from ..hdl.config import Config
from ..hdl.errors import MareyError
from ..hdl.isa import TOKEN_BITS
from .model import ModelConfig
from .quantise import Linear, QuantisedModel

MATRICES = ("qk", "v", "wo", "w1", "w3", "w2")
"""Of a layer, in the order of use."""
FEWEST_POSITIONS = 16
ADVICE = ": choose a larger configuration"
ONE = 1 << 14
"""The constant that makes a scalar a value in MEM, 14 bits finer."""


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
    cache from word 0 on, `words_stride` apart. `context`: positions that the cache has room for. `groups`, `alike`: see
    `QuantisedModel`.
    """

    config: Config
    model: ModelConfig
    context: int
    groups: dict[str, int] = field(default_factory=dict)
    alike: frozenset[str] = frozenset()
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

    @property
    def halves(self) -> int:
        """W-RAM words of a word of the cache, which has 8 bits a value."""
        return 8 // self.config.weight_bits

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
        """Vectors of so many values, each from a word of MEM on: their granules from `at` on, and where they end."""
        config, found = self.config, {}
        for name, values in sizes.items():
            found[name] = at
            at += -(-values // config.rows) * config.granules_per_word
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
        return self.config.lanes if name in self.alike else values

    def _gain(self, name):
        """Likewise those of a norm."""
        return 0 if name in self.alike else self.dim

    def _lay_granules(self):
        config, model = self.config, self.model
        lanes = config.lanes
        factors = {name: self._factors(name, matrix.groups * matrix.results * config.cols)
                   for name, matrix in (self.matrices | {"classifier": self.classifier}).items()}
        self.constants, at = self._lay({
            "low": integer.ROTARY_LOW * self.head, "high": -(-self.context // integer.ROTARY_LOW) * 4 * self.head,
            "one": lanes, "final_gain": self._gain("final_gain"), "classifier": factors.pop("classifier"),
            "embedding": self._factors("embedding", self.embedding_groups * self.vocabulary)}, 0)
        self.layer, self.constants_stride = self._lay({
            "attention_gain": self._gain("attention_gain"), "ffn_gain": self._gain("ffn_gain"), **factors,
            "key_offset": self.kv_heads, "score": model.n_heads * lanes}, 0)
        self.layer_constants, at = at, at + model.n_layers * self.constants_stride
        self.buffers, self.granules = self._lay({
            "x": self.dim, "gained": max(self.dim, self.hidden), "input": max(self.dim, self.hidden),
            "qk": self.heads + self.kv_heads, "q": self.heads, "k": self.kv_heads,
            "v": self.kv_heads if self.halves > 1 or config.wram_ports == 1 else 0,
            "turn": 2 * self.head, "score": model.n_heads * self.context, "o": self.heads,
            "gate": self.hidden, "up": self.hidden,
            "factors": max(self.heads + 2 * self.kv_heads, 2 * self.hidden, self.dim), "logits": self.vocabulary,
            "scale": lanes}, at)
        self.factors = {"qk": 0, "v": self.in_granules(self.heads + self.kv_heads), "w1": 0,
                        "w3": self.in_granules(self.hidden), "w2": 0}


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


def plan(config: Config, model: ModelConfig, groups: dict[str, int], alike: frozenset[str]) -> Layout:
    """The layout with the largest context, up to the model's, that fits. CompileError if even a short one does not.

    `groups`, `alike`: see `QuantisedModel`.
    """
    check_shape(config, model)
    if any(group % config.rows for name, group in groups.items() if name != "wo"):
        raise CompileError(f"groups of {min(groups.values())} inputs are no whole words of {config.rows}: quantise in larger "
                           "groups")
    context = model.seq_len
    while True:
        layout = Layout(config, model, context, groups, alike)
        summed = layout.context << 14 < 1 << config.accumulator_bits - 1
        if layout.words <= config.wram_depth and layout.granules <= config.granules and summed:
            return layout
        if context <= FEWEST_POSITIONS:
            raise CompileError(f"with {context} positions the model needs {layout.words} W-RAM words and "
                               f"{-(-layout.granules // config.granules_per_word)} MEM words, and {config.name} has "
                               f"{config.wram_depth} and {config.mem_depth}{ADVICE}")
        context //= 2


def place(config: Config, weight: np.ndarray, matrix: Matrix) -> np.ndarray:
    """A matrix [outputs, inputs] as W-RAM has it: int8 [words, cols, rows], zeros where it ends.

    Output o * cols + c is in column c; its inputs lie in words o * inner to o * inner + inner - 1.
    """
    padded = np.zeros((matrix.results * config.cols, matrix.inner * config.rows), np.int8)
    padded[:weight.shape[0], :weight.shape[1]] = weight
    return (padded.reshape(matrix.results, config.cols, matrix.inner, config.rows)
            .transpose(0, 2, 1, 3).reshape(-1, config.cols, config.rows))


def fill(layout: Layout, model: QuantisedModel) -> tuple[np.ndarray, np.ndarray]:
    """W-RAM, int8 [words, cols, rows], and MEM's constants, int16 [granules, lanes], of a model."""
    config, shape = layout.config, model.config
    weights = np.zeros((layout.words, config.cols, config.rows), np.int8)
    values = np.zeros((layout.buffers["x"], config.lanes), np.int16)

    def put(at, vector):
        flat = values.reshape(-1)[at * config.lanes:]
        flat[:vector.size] = vector.ravel()

    for index in range(shape.n_layers):
        words, granules = index * layout.words_stride, layout.layer_constants + index * layout.constants_stride
        for name, linear in layer_linears(layout, model, index).items():
            matrix = layout.matrices[name]
            weights[words + matrix.word:][:matrix.words] = place(config, linear.weight, matrix)
            put(granules + layout.layer[name], _by_group(layout, name, linear.factors, matrix.results * config.cols))
        for name, vector in layer_constants(layout, model, index).items():
            if name not in layout.alike:
                put(granules + layout.layer[name], vector)
    # What fills up the vocabulary is never chosen: it is like the last token, and the first of two is.
    classifier = model.linears["classifier"]
    last = np.minimum(np.arange(layout.vocabulary), shape.vocab_size - 1)
    matrix = layout.classifier
    weights[matrix.word:][:matrix.words] = place(config, classifier.weight[last], matrix)
    weights[layout.embedding:][:matrix.words] = place(config, model.embedding[last], matrix)
    put(layout.constants["classifier"], _by_group(layout, "classifier", classifier.factors[:, last], layout.vocabulary))
    put(layout.constants["embedding"], _by_group(layout, "embedding", model.embedding_factors, layout.vocabulary))
    if "final_gain" not in layout.alike:
        put(layout.constants["final_gain"], model.final_gain)
    put(layout.constants["one"], np.full(config.lanes, ONE))
    fill_rotary(layout, put)
    return weights, values


def _by_group(layout, name, factors, outputs):
    """A matrix's factors [groups, N] as MEM has them: zeros where a matrix ends, or, of those that are alike, a granule."""
    if name in layout.alike:
        return factors[0, :1].repeat(layout.config.lanes)
    return np.pad(factors, ((0, 0), (0, outputs - factors.shape[1])))


def head_order(shape: ModelConfig) -> np.ndarray:
    """Query heads in the order of the tile: the first of every group, then the second of every group, and so on."""
    return np.arange(shape.n_heads).reshape(shape.n_kv_heads, -1).T.ravel()


def layer_constants(layout: Layout, model: QuantisedModel, index: int) -> dict[str, np.ndarray]:
    """A layer's constants but for its matrices' factors, int16, by their names in `Layout.layer`."""
    config, shape, layer = layout.config, model.config, model.layers[index]
    return {"attention_gain": np.broadcast_to(layer.attention_gain, shape.dim),
            "ffn_gain": np.broadcast_to(layer.ffn_gain, shape.dim),
            "key_offset": _pad_heads(layer.key_offset.ravel(), shape, layout.head),
            "score": np.repeat(layer.score_factor[head_order(shape)], config.lanes)}


def layer_linears(layout: Layout, model: QuantisedModel, index: int) -> dict[str, Linear]:
    """A layer's operations as they lie in W-RAM: heads filled up, and queries in their order."""
    shape = model.config
    found = {name: model.linears[f"layers.{index}.{name}"] for name in MATRICES}
    order = head_order(shape)
    every = np.concatenate([order, shape.n_heads + np.arange(shape.n_kv_heads)])

    def heads(linear, which):
        weight = linear.weight.reshape(-1, shape.head_dim, linear.weight.shape[1])[which]
        padded = np.zeros((len(which), layout.head, weight.shape[2]), np.int8)
        padded[:, :shape.head_dim] = weight
        multiplier = linear.factors.reshape(linear.groups, -1, shape.head_dim)[:, which]
        return replace(linear, weight=padded.reshape(-1, weight.shape[2]),
                       multiplier=_pad_heads(multiplier.ravel(), shape, layout.head).reshape(linear.groups, -1))

    found["qk"] = heads(found["qk"], every)
    found["v"] = heads(found["v"], np.arange(shape.n_kv_heads))
    wo = found["wo"]
    columns = np.zeros((shape.dim, shape.n_heads, layout.head), np.int8)
    columns[:, :, :shape.head_dim] = wo.weight.reshape(shape.dim, shape.n_heads, shape.head_dim)[:, order]
    multiplier = wo.multiplier[order] if wo.groups > 1 else wo.multiplier
    found["wo"] = replace(wo, weight=columns.reshape(shape.dim, -1), multiplier=multiplier)
    return found


def _pad_heads(vector, shape, head):
    padded = np.zeros((vector.size // shape.head_dim, head), vector.dtype)
    padded[:, :shape.head_dim] = vector.reshape(-1, shape.head_dim)
    return padded.ravel()


def fill_rotary(layout: Layout, put: Callable[[int, np.ndarray], None]) -> None:
    """The tables of angles, as the two-beat products of `lowering` want them: see `marey.hdl.integer.rotation`."""
    shape, lanes = layout.model, layout.config.lanes
    low, high = integer.rotary_tables(shape.head_dim, layout.context, shape.rope_theta)
    put(layout.constants["low"], np.stack([_pad_heads(row.ravel(), shape, layout.head) for row in low]))
    cos, sin = high[..., 0], high[..., 1]
    # Cosines of sums, then sines, minus the sine in even lanes; each a product with the vector and one with its swap.
    pairs = [(cos, -sin), (-sin, cos), (-sin, cos), (-cos, sin)]
    rows = np.stack([np.stack([_pad_heads(row.ravel(), shape, layout.head) for row in np.stack(pair, axis=-1)])
                     for pair in pairs], axis=1)
    put(layout.constants["high"], rows.reshape(len(high), 4, -1, lanes).transpose(0, 2, 1, 3))
