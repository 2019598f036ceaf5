"""Placement: tells kernels where matrices, constants and the KV cache lie, in a resident and in a
streamed program."""

from typing import Protocol

from ...hdl.spec.isa import Address, Reduce
from .layout import Layout
from .matrix import Matrix
from .registers import Registers


class Placement(Protocol):
    """What a kernel can ask. Addresses in MEM count granules, those in W-RAM words."""

    registers: Registers
    streamed: bool
    """Whether a token takes several runs, each with the constants of its own segment."""
    chunks: int
    """Number of runs that the current section's matrix takes; each run makes a part of its
    results."""
    argmax: dict
    """Operands with which the VXM that makes the logits finds the largest of them; {} if it does not."""
    fill_cycles: int
    """Cycles from one entry that comes to W-RAM from external memory to the next, while the section runs; 0 if none comes."""
    far_cache: bool
    """Whether the KV cache lies in external memory, so that keys and values of the position do not go to W-RAM at once."""
    blocks: int | None
    """Blocks of the KV cache that attention goes through, if they are the same number at each position."""
    keys: Address
    """W-RAM word at which the layer's cached keys begin."""
    values: Address
    """W-RAM word at which the layer's cached values begin."""
    buffers: dict[str, int | Address]
    """The first granule of each buffer of the token."""

    def constant(self, name: str) -> Address:
        """The first granule of a constant: factors of a matrix, gains of a norm, a bias or a table.
        KeyError if there is none."""

    def matrix(self, name: str) -> Matrix:
        """The matrix of the LINEAR operation `name`, or, if it is streamed in chunks, the chunk of
        one run."""

    def word(self, name: str) -> Address:
        """The first W-RAM word of the matrix of the LINEAR operation `name`."""

    def results(self, name: str) -> Address | int:
        """The granule to which results go: the first of the buffer `name`, or of the part that this
        chunk fills."""


class Resident:
    """The placement of a model that is in the tile as a whole; the program adds to the registers in
    each layer.

    Registers: "constants" and "words", the beginning of the layer's constants in MEM and of its words
    in W-RAM; "key" and "value", where the position's key and value go; "once" and "once_more", for
    the look-ups at the beginning of a token.
    """

    streamed, chunks, fill_cycles, far_cache, blocks, argmax = False, 1, 0, False, None, {"reduce": Reduce.ARGMAX}

    def __init__(self, layout: Layout):
        config = layout.config
        self.layout, self.buffers = layout, layout.buffers
        self.registers = Registers({
            "constants": layout.layer_constants, "words": 0, "key": layout.keys * config.granules_per_word,
            "value": layout.values * config.beats_per_result, "once": 0, "once_more": 0})
        self.keys, self.values = (self.registers.address("words", word * layout.halves)
                                  for word in (layout.keys, layout.values))

    def constant(self, name: str) -> Address:
        if name in self.layout.constants:
            return Address(self.layout.constants[name])
        return self.registers.address("constants", self.layout.layer[name])

    def matrix(self, name: str) -> Matrix:
        return self.layout.classifier if name == "classifier" else self.layout.matrices[name]

    def word(self, name: str) -> Address:
        if name == "classifier":
            return Address(self.layout.classifier.word)
        return self.registers.address("words", self.layout.matrices[name].word)

    def results(self, name: str) -> Address | int:
        return self.layout.buffers[name]


class Streamed:
    """The placement of a streamed model; each run computes the registers from the operand it is
    started with.

    Registers: "buffer", the W-RAM buffer with the segment's weights; "results", the offset of the
    chunk's results in their vector; "key" and "value", where the position's key and value go; "keys"
    and "values", where the layer's cached keys and values begin. `chunks` and `steps`, the names of its
    operations, must be set for each section before its kernels run.

    In the program of a block of positions register "slot" is as for `External`. The gains of a norm of an
    earlier section are in the buffer "gains".
    """

    streamed, fill_cycles, far_cache, blocks = True, 0, False, None

    def __init__(self, layout: Layout):
        config, slots = layout.config, layout.slots
        self.layout, self.buffers, self.chunks, self.steps = layout, layout.buffers, 1, ()
        self.registers = Registers({
            "buffer": layout.buffer, "results": 0, "key": 0, "value": layout.values * config.beats_per_result, "keys": 0,
            "values": layout.values} | ({"slot": 0} if slots else {}))
        self._first_constants = first_constants(layout)
        if slots:
            self.buffers = slots.buffers(layout, self.registers)
        self.keys, self.values = self.registers.address("keys"), self.registers.address("values")

    @property
    def argmax(self) -> dict:
        return {"reduce": Reduce.ARGMAX} if self.chunks == 1 else {}

    def constant(self, name: str) -> Address:
        slots = self.layout.slots
        if slots and name in self._first_constants:
            return self.registers.address("slot", slots.begin + self.layout.layer[name])
        if slots and name in self.layout.norms and name not in self.steps:
            return Address(self.layout.buffers["gains"])
        return Address(self.layout.segment + self.layout.layer[name])

    def matrix(self, name: str) -> Matrix:
        return self.layout.matrices[name]

    def word(self, name: str) -> Address:
        return self.registers.address("buffer", self.layout.matrices[name].word)

    def results(self, name: str) -> Address | int:
        slots = self.layout.slots
        if self.chunks > 1 and (name in slots.kept if slots else name != "logits" or self.layout.whole):
            return self.registers.address("results", self.layout.buffers[name])
        return self.buffers[name]


class External:
    """The placement of a model whose segments come from external memory; a token is one run.

    Registers: "buffer", the W-RAM buffer with the segment's weights; "far", the burst of the next segment; "results", the
    offset of the chunk's results in their vector, or in external memory; "key" and "value", where the position's key and
    value go; "cache", the layer's offset in the KV cache, in W-RAM words. `zeros`: those that a token begins with as 0.
    `of_position`: (register, positions after which it moves, how far), for each that depends on the position. `strides`:
    {register: what a layer adds to it}. `chunks` and `argmax` must be set for each chunk before its kernels run.

    If the KV cache lies in external memory, there is no register "cache". Registers "rows" and "row" are the bursts of the
    keys that are read next, and of those of the position, counted from the first; see `far_cache.py`.

    In the program of a block of positions register "slot" is the distance of the position's slot from the first one, and
    "results" has that distance in it. See `slots.py`.
    """

    streamed = True

    def __init__(self, layout: Layout):
        config, slots = layout.config, layout.slots
        self.layout, self.buffers, self.chunks, self.argmax = layout, layout.buffers, 1, {}
        self.blocks, self.far_cache = layout.context // config.block, layout.far_cache
        self.fill_cycles = 0 if layout.far_cache else config.rows * config.weight_bits // config.memory.part.bus_bits
        if layout.far_cache:
            more = "rows", "row"
            self.zeros = "buffer", "far", "rows"
            self.of_position = [("row", 1, layout.row_bursts)]
            self.strides = {"row": layout.context * layout.row_bursts}
        else:
            more = "cache", *(("slot",) if slots else ())
            self.zeros = "buffer", "far", *more
            self.of_position = [("key", config.cols, layout.head // config.rows * config.granules_per_word),
                                ("value", config.rows, config.beats_per_result)]
            self.strides = {"key": layout.cache_stride * config.granules_per_word,
                            "value": layout.cache_stride * config.beats_per_result,
                            "cache": layout.cache_stride * layout.halves}
        self.registers = Registers({
            "buffer": 0, "far": 0, "results": 0, "key": layout.keys * config.granules_per_word,
            "value": layout.values * config.beats_per_result} | dict.fromkeys(more, 0))
        self._first_constants = first_constants(layout)
        if slots:
            self.buffers = slots.buffers(layout, self.registers)
        self.keys, self.values = (Address(word * layout.halves) if layout.far_cache
                                  else self.registers.address("cache", word * layout.halves)
                                  for word in (layout.keys, layout.values))

    def constant(self, name: str) -> Address:
        slots = self.layout.slots
        if slots and name in self._first_constants:
            return self.registers.address("slot", slots.begin + self.layout.layer[name])
        return Address(self.layout.segment + self.layout.layer[name])

    def matrix(self, name: str) -> Matrix:
        return self.layout.matrices[name]

    def word(self, name: str) -> Address:
        return self.registers.address("buffer")

    def results(self, name: str) -> Address | int:
        slots = self.layout.slots
        if self.chunks > 1 and (name in slots.kept if slots else name != "logits" or self.layout.whole):
            return self.registers.address("results", self.layout.buffers[name])
        return self.buffers[name]


def first_constants(layout: Layout) -> set[str]:
    """Names of the constants of the operations before the layers."""
    return {name for operation in layout.graph.begin for name in layout.constants_of(operation.name)}
