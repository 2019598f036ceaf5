"""The layout: where all matrices, constants and buffers of a model lie in MEM and in W-RAM.

MEM, in order: the buffers that products read and write, constants, the other buffers. W-RAM: the layers one after another,
each with its matrices and its part of the KV cache; then the classifier, and the embedding if the model is not tied. Vectors
are padded with zeros to a multiple of `Config.block` values, heads to whole words: a result wider than a word may have several
heads. Only cached values have whole results for each head, since a product has them in its columns.
"""

from functools import cached_property

from ...hdl.spec.config import Config
from ...hdl.spec.errors import MareyError
from ..model.graph import Kind, Operation
from ..model.integer_graph import WEIGHT_GROUP, early, keys_at_once, maker
from ..quant.outline import Outline
from .buffers import buffer_sizes, embedding_factor_values, factor_offsets, gain_values
from .chained import is_chained, turned
from .matrix import Matrix


class CompileError(MareyError):
    """The configuration cannot run the model. The message is one line that says why."""


class Layout:
    """The addresses of a resident model. Addresses in MEM count granules, those in W-RAM words.

    MEM:

    - `constants`, `buffers`: the first granule of each, by name. Constants end before granule `constants_end`.
    - `layer`: offsets of a layer's constants, by name. Those of layer n begin at granule `layer_constants`
      + n * `constants_stride`.
    - `factors`: offset of a matrix's factors in the buffer "factors".
    - `granules`: of MEM that the model takes.
    - `reads`: MEM ranges that a token reads, by port as in `Config.windows`: lists of (first, end); `end` is exclusive.

    W-RAM:

    - `matrices`: of a layer, by name. Layer n begins at word n * `words_stride`. `classifier`, and
      `embedding`: the first word of the embedding. `words`: that the model takes.
    - `keys`, `values`: where a layer's cached keys and values begin, counted from its first word.
    - `key_words`, `value_words`: words of one head's keys, and of cols channels of its values.
    - `key_hop`, `value_hop`: words from one head's keys to the next head's, and from cols channels
      of values to the next cols channels. `cache_stride`: from one layer to the next.
    - If weights have 4 bits, these seven numbers count pairs of words.

    `context`: positions that the cache has room for. `head`: values of a head's queries, keys and output, padding
    included. `value_head`: those of its cached values, a multiple of cols.
    """

    def __init__(self, config: Config, outline: Outline, context: int):
        self.config, self.model, self.graph = config, outline.config, outline.graph
        self.groups, self.uniform = outline.groups, outline.uniform
        self.balanced, self.offsets = outline.balanced, outline.offsets
        self.pipelined = any(operation.output.first for operation in self.graph.layer)
        self.gated = any(operation.gated for operation in self.graph.layer)
        block = config.block
        self.context = -(-context // block) * block
        self.head = -(-self.model.head_dim // config.rows) * config.rows
        self.value_head = -(-self.head // config.cols) * config.cols
        self.matrices: dict[str, Matrix] = {}
        self.constants: dict[str, int] = {}
        self.layer: dict[str, int] = {}
        self.buffers: dict[str, int] = {}
        self.factors: dict[str, int] = {}
        self.reads: dict[str, list[tuple[int, int]]] = {}
        self._lay_words()
        self._lay_granules()

    # Sizes

    def padded(self, values: int) -> int:
        """The length in MEM of a vector of so many values: a multiple of the block, and so of words and of results."""
        return -(-values // self.config.block) * self.config.block

    def in_granules(self, values: int) -> int:
        """Granules that so many values take; `values` must be a multiple of lanes."""
        return values // self.config.lanes

    def in_words(self, granules: int) -> int:
        """Words of MEM that hold so many granules, rounded up."""
        return -(-granules // self.config.granules_per_word)

    @property
    def halves(self) -> int:
        """W-RAM words that hold a word of the KV cache, whose values have 8 bits: see `Config.wide_words`."""
        return self.config.wide_words

    @property
    def readable(self) -> bool:
        """Whether each port's window covers all MEM ranges that a token reads through the port."""
        return all(self.config.windows[port].covers(*span) for port, spans in self.reads.items() for span in spans)

    @cached_property
    def dim(self) -> int:
        """Values of the residual in MEM, padding included."""
        return self._whole(self.model.dim, *(each.name for each in self.linears if self.source(each) is Kind.NORM), "embedding")

    @property
    def residual(self) -> int:
        """Values of the buffer x: the residual; if it is balanced, also a granule with the epsilon of norms."""
        return self.dim + self.config.lanes * self.balanced

    @cached_property
    def hidden(self) -> int:
        """Values of the feed-forward block's hidden vector in MEM, padding included."""
        made = (Kind.QUANTISE, Kind.MULTIPLY, Kind.LINEAR)
        return self._whole(self.model.hidden_dim, *(each.name for each in self.linears if self.source(each) in made))

    def _whole(self, values, *matrices):
        """The length in MEM of a vector that these matrices read: a multiple of their groups."""
        unit = max(self.config.block, *(self.groups.get(name, 1) for name in matrices))
        return -(-values // unit) * unit

    @property
    def vocabulary(self) -> int:
        """Logits in MEM, padding included."""
        return self.padded(self.model.vocab_size)

    @property
    def heads(self) -> int:
        """Values of all query heads in MEM, padding included."""
        return self.model.n_heads * self.head

    @property
    def kv_heads(self) -> int:
        """Values of all KV heads in MEM, padding included."""
        return self.model.n_kv_heads * self.head

    @property
    def embedding_groups(self) -> int:
        """Groups of the embedding's channels, each with factors of its own."""
        return self.dim // self.groups.get("embedding", self.dim)

    # Operations

    @property
    def linears(self) -> list[Operation]:
        """The LINEAR operations of the graph; those of the layer region are listed once."""
        return list(self.graph.of_kind(Kind.LINEAR))

    @property
    def norms(self) -> list[str]:
        """Names of the NORM operations of a layer."""
        return [operation.name for operation in self.graph.layer if operation.kind is Kind.NORM]

    def has(self, kind: Kind) -> bool:
        """Whether the graph has an operation of a kind."""
        return any(self.graph.of_kind(kind))

    def source(self, linear: Operation) -> Kind:
        """The kind of operation that makes the input of a LINEAR, or the vector in it if that is joined with sums."""
        return maker(self.graph, linear).kind

    def source_joined(self, linear: Operation) -> bool:
        """Whether the input of a LINEAR has sums of its groups behind it."""
        return self._producer(linear).kind is Kind.JOIN

    def vector(self, source: Kind) -> int:
        """Values of the vector that an operation of this kind makes for matrices, padding included."""
        return {Kind.VALUES: self.heads, Kind.NORM: self.dim}.get(source, self.hidden)

    def sums(self, source: Kind) -> int:
        """The sums of the groups of such a vector, padded to whole groups; 0 if weights have no offsets."""
        return -(-self.vector(source) // WEIGHT_GROUP**2) * WEIGHT_GROUP * self.offsets

    def joined(self, source: Kind) -> int:
        """Values of such a vector with the sums of its groups behind it, twice."""
        return self.vector(source) + 2 * self.sums(source)

    def input_groups(self, linear: Operation) -> int:
        """Groups or halves of the input of a LINEAR, each with a scalar of its own; or 1."""
        return self._producer(linear).output.scalars

    def scaled_groups(self, linear: Operation) -> int:
        """Groups of the factors of a LINEAR that are multiplied by scalars before the product."""
        return 1 if early(self.graph, linear) else self.input_groups(linear)

    def _producer(self, linear):
        return self.graph.producer(linear.inputs[0], self.graph.layer if linear in self.graph.layer else self.graph.end)

    @property
    def scaled(self) -> list[str]:
        """Names of the LINEAR operations of a layer whose results are multiplied by the scalar of their input."""
        return [each.name for each in self.linears if each.scaled and each in self.graph.layer]

    def shapes(self) -> dict[str, tuple[int, int]]:
        """(outputs, inputs) of a layer's matrices, by name, padding included."""
        found = {}
        for operation in self.linears:
            if operation in self.graph.layer:
                source, reader = self.source(operation), self.graph.readers(operation.output.name, self.graph.layer)[0]
                outputs = operation.output.heads * self.head or (self.dim if reader.kind is Kind.ADD else self.hidden)
                found[operation.name] = -(-outputs // self.config.cols) * self.config.cols, self.joined(source)
                if reader.kind is Kind.JOIN:
                    found[operation.name] = self.padded(self.sums(source)), self.vector(source)
        return found

    # W-RAM

    def _lay_words(self):
        config, model = self.config, self.model
        word = 0
        for operation in self.linears:
            if operation in self.graph.layer:
                self.matrices[operation.name] = self._matrix(operation, word, *self.shapes()[operation.name])
                word += self.matrices[operation.name].words
        self.keys = -(-word // self.halves)
        self.key_words = self.context // config.cols * (self.head // config.rows)
        self.value_words = self.context // config.rows
        self.key_hop, self.value_hop = self.key_words, self.value_words
        self.values = self.keys + model.n_kv_heads * self.key_words
        self.cache_stride = self.values + model.n_kv_heads * (self.value_head // config.cols) * self.value_words
        self.words_stride = self.cache_stride * self.halves
        classifier = self.graph.find("classifier")
        self.classifier = self._matrix(classifier, self.words_stride * model.n_layers, self.vocabulary, self.dim)
        self.embedding, self.words = self.classifier.word, self.classifier.word + self.classifier.words
        if not model.tied:
            # A row of 8 bits lies in two tables of 4 bits, which take as many words as a matrix in halves.
            self.embedding, self.words = self.words, self.words + self.classifier.words

    def _matrix(self, operation, word, outputs, inputs):
        words, results = inputs // self.config.rows, outputs // self.config.cols
        if self.source_joined(operation):
            return Matrix(word, words, results, inputs // WEIGHT_GROUP)
        group = self.groups.get(operation.name, inputs)
        # In the matrix behind attention, a group of inputs is a head, padding included.
        by_head = operation.name in self.groups and self.source(operation) is Kind.VALUES
        groups = self.model.n_heads if by_head else inputs // group
        # Weights of 8 bits lie in halves where the tile's have 4: those of the classifier of a model with offsets.
        wide = self.offsets and operation in self.graph.end
        halves, beats = (self.halves, self.config.wide_beats) if wide else (1, 1)
        first = self._producer(operation).output.first // self.config.rows
        return Matrix(word, words, results, 2 if first else groups, halves, beats, first)

    # MEM

    def lay(self, sizes: dict[str, int], at: int) -> tuple[dict[str, int], int]:
        """Lays vectors of so many values one after another, from granule `at` on: ({name: first granule}, the granule
        after the last)."""
        found = {}
        for name, values in sizes.items():
            found[name] = at
            at += self.in_granules(values)
        return found, at

    def _keep(self, sizes, at):
        """Like `_lay`, but enters the vectors in `buffers`, and returns only the granule after the last."""
        found, end = self.lay(sizes, at)
        self.buffers |= found
        return end

    def factor_values(self, name: str, values: int) -> int:
        """Values that the factors of a matrix, or of the embedding, take in MEM: a granule if they
        are all the same."""
        return self.config.lanes if name in self.uniform else values

    def bias_values(self, operation: Operation) -> int:
        """Values that the bias of a LINEAR takes in MEM, padding included; 0 if it has none."""
        if not operation.bias:
            return 0
        return self.shapes()[operation.name][0] if operation in self.graph.layer else self.vocabulary

    def _lay_granules(self):
        """Lays out MEM, so that each port reads one or two contiguous ranges (see `reads`).

        In order: what the MXM reads, what the VXM reads as x, what it reads as y, and queries that no product turns.
        """
        config, model, lanes = self.config, self.model, self.config.lanes
        sizes, windows, chained = buffer_sizes(self), config.windows, is_chained(self)
        factors = {name: self.factor_values(name, matrix.groups * matrix.results * config.cols)
                   for name, matrix in (self.matrices | {"classifier": self.classifier}).items()
                   if not self.graph.find(name).gated}
        biases = {f"{each.name}_bias": self.bias_values(each) for each in self.linears if each.bias}
        at = self._lay_products(sizes, 0)
        act = [(0, self.in_words(at))]
        self.constants, at = self.lay({"low": sizes["low"], "one": lanes, "epsilon": lanes * self.balanced}, at)
        # The VXM reads factors as x if it multiplies them by a scalar first, else as y.
        scaled = {name: factors[name] for name in self.scaled
                  if name not in self.groups or self.input_groups(self.graph.find(name)) > 1}
        self.layer, start = self.lay(scaled, 0)
        rest, self.constants_stride = self.lay({
            **{name: gain_values(self, name) for name in self.norms},
            **{f"{name}_units": self.residual * self.balanced for name in self.norms}, "rescale": self.dim * self.balanced,
            **{name: factors[name] for name in self.matrices if name in factors and name not in scaled},
            "key_offset": 0 if keys_at_once(self.graph) else self.kv_heads, "score": model.n_heads * lanes,
            **{each.name: self.dim * self.offsets for each in self.graph.of_kind(Kind.ADD)},
            **{each.name: self.heads + self.kv_heads for each in self.graph.of_kind(Kind.HEAD_NORM)},
            **{name: values for name, values in biases.items() if name != "classifier_bias"}}, start)
        self.layer |= rest
        self.layer_constants = max(at, windows["y"].first - (0 if self.pipelined else start))
        first, behind = self.layer_constants + (0 if self.pipelined else start), model.n_layers * self.constants_stride
        # In a chained tile the VXM reads as x what it adds up or applies SILU to, and constants of layers only as y.
        up, v = {"up": sizes.pop("up")} if chained else {}, {"v": sizes["v"]} if self.values_late else {}
        at = self.padded(self.layer_constants) if chained else self.layer_constants + behind
        at = self._keep({"x": sizes["x"], **up, "normal": sizes["normal"], "scale": lanes, "sums": sizes["sums"], **v}, at)
        looked_up, at = self.lay({"embedding": embedding_factor_values(self)}, at)
        classifier, at = self.lay({"classifier_bias": biases.get("classifier_bias", 0)}, at)
        x = [(0, at)]
        if chained:
            self.layer_constants, at = at, at + behind
        rest, at = self.lay({"high": sizes["high"], "final_norm": gain_values(self, "final_norm"),
                              "classifier": factors["classifier"], "positions": sizes["positions"],
                              "final_norm_units": self.residual * self.balanced, "ones": lanes * self.balanced}, at)
        self.constants, self.constants_end = self.constants | looked_up | classifier | rest, at
        at = self._keep({"turn": sizes["turn"]}, -(-at // sizes["turn"]) * sizes["turn"] if turned(self) else at)
        at = max(self._keep({"factors": sizes["attention factors"]}, at),
                 self._keep({"factors": sizes["factors"], "up": sizes.get("up", 0)} if not chained else {}, at))
        self.factors = factor_offsets(self, factors)
        if turned(self):
            self.buffers["q"], self.granules = self.buffers["qk"] + self.in_granules(self.kv_heads), at
        else:
            queries = max(self.in_words(at), windows["act"].first)
            self.granules = self._keep({"q": sizes["q"]}, queries * config.granules_per_word)
            act.append((queries, self.in_words(self.granules)))
        # Attention's output takes the place of its queries.
        self.buffers["o"] = self.buffers["q"]
        self.reads = {"act": act, "x": x, "y": [(first, at)]}

    @property
    def values_wait(self) -> bool:
        """Whether this position's values are in MEM before they go to the cache: a result may have several heads, halves are
        written one after the other, a single port only while no product reads it, and sums of groups when complete."""
        grouped = any(self.scaled_groups(each) > 1 or each.name in self.groups for each in self.linears if each.output.heads)
        return self.value_head > self.head or self.config.wide_beats > 1 or self.config.wram_ports == 1 or grouped

    @property
    def values_late(self) -> bool:
        """Whether this position's values may go to the cache behind the scores."""
        return self.pipelined or (self.value_head == self.config.cols > self.head and self.config.engines > 1)

    def _lay_products(self, sizes, at):
        """Lays the buffers that products read and write; returns the granule after the last.

        Buffers that are never in use at the same time share granules. `input` comes first. Behind the part of it that is
        in use at the time lie `gained`; or `qk`, `k` and, if it goes to the cache before the scores, `v`; or `gate`; or
        `logits`. The scores take the place of all of them, `input` included. If inputs have halves, `whole` lies between, since
        it is in use when the next input is written, and `gained` behind `gate`, since it is in use before `gate` is read last.
        """
        hidden, norm = self._keep({"input": sizes["input"]}, at), at + self.in_granules(self.joined(Kind.NORM))
        gate = [("gained",), ("gate",)]
        if self.pipelined:
            hidden = norm = self._keep({"whole": sizes["whole"]}, hidden)
            gate = [("gate", "gained")]
        heads = [(norm, ("qk", "k") if self.values_late else ("qk", "k", "v"))]
        if turned(self):  # queries stay in `qk`, behind all that is in use with them: `input`, `v` and the scores
            behind = max(at + self.in_granules(sizes["score"]), norm + self.in_granules(sizes["v"]))
            heads = [(norm, ("k", "v")), (-(-behind // self.head) * self.head, ("qk",))]
        return max(self._keep({name: sizes[name] for name in names}, start) for start, names in (
            *((hidden, names) for names in gate), *heads, (norm, ("logits",)), (at, ("score",))))
