"""Where the kernels of a program find matrices, constants and the KV cache: one answer for each residency."""

from typing import Protocol

from ...hdl.spec.isa import Address
from .layout import Layout, Matrix
from .registers import Registers


class Placement(Protocol):
    """What a kernel asks. Addresses of MEM count granules, those of W-RAM words."""

    registers: Registers
    streamed: bool
    """Whether a token is several runs, each with the constants of its segment."""
    chunks: int
    """Runs that a matrix goes through in, each making a part of its results."""
    keys: Address
    """W-RAM words of the layer's keys, and of its values."""
    values: Address

    def constant(self, name: str) -> Address:
        """Where a constant lies in MEM: factors of a matrix, gains of a norm, a bias, a table."""

    def matrix(self, name: str) -> Matrix:
        """The matrix of a LINEAR operation, or the chunk of it that one run multiplies."""

    def word(self, name: str) -> Address:
        """The first W-RAM word of a matrix."""

    def results(self, name: str) -> Address | int:
        """Where results go that fill a buffer, or a chunk of it."""


class Resident:
    """A model that is in the tile as a whole: registers step from layer to layer.

    Registers: "constants" and "words", a layer's constants in MEM and its words in W-RAM; "key" and "value", where the
    position's key and value go; "once" and "once_more", for the look-ups of a token.
    """

    streamed, chunks = False, 1

    def __init__(self, layout: Layout):
        config = layout.config
        self.layout = layout
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
    """A model that goes through the tile segment by segment: registers are computed at the start of each run.

    Registers: "buffer", W-RAM's buffer with the segment's weights; "results", where a chunk's results go in their vector;
    "key" and "value", where the position's key and value go; "keys" and "values", those of the layer. `chunks` is that of
    the section at hand.
    """

    streamed = True

    def __init__(self, layout: Layout):
        config = layout.config
        self.layout, self.chunks = layout, 1
        self.registers = Registers({
            "buffer": layout.buffer, "results": 0, "key": 0, "value": layout.values * config.beats_per_result, "keys": 0,
            "values": layout.values})
        self.keys, self.values = self.registers.address("keys"), self.registers.address("values")

    def constant(self, name: str) -> Address:
        return Address(self.layout.segment + self.layout.layer[name])

    def matrix(self, name: str) -> Matrix:
        return self.layout.matrices[name]

    def word(self, name: str) -> Address:
        return self.registers.address("buffer", self.layout.matrices[name].word)

    def results(self, name: str) -> Address | int:
        if self.chunks > 1 and (name != "logits" or self.layout.whole):
            return self.registers.address("results", self.layout.buffers[name])
        return self.layout.buffers[name]
