"""Slots: what MEM keeps of each position of a block while one stream of weights goes by.

A program that computes several positions with each segment of the weights goes through the operations of
a section once for each position. What a later section reads of a position is in the position's slot; all
slots are alike, `stride` granules apart, and address register "slot" points to one of them. All other
buffers are shared, because no section leaves anything in them: a section computes the int8 input of its
matrix again from what is in the slot (see `blocked.restored`).

A slot has the residual, the rotation of the position, and behind them, one after another in the same
place: the constants with which the position begins; queries, keys and values, later the output of
attention; the feed-forward block's hidden vector.
"""

from copy import copy
from dataclasses import dataclass

from ...hdl.spec.isa import Address
from ..model.graph import Kind
from .buffers import buffer_sizes
from .layout import Layout
from .registers import Registers

MOST_POSITIONS = 32
"""The most positions of a block: with more, the products take longer than the weights."""


class NoBlock(Exception):
    """There is no program for blocks of positions. Its text says why, and what would help, in a part of a line."""


@dataclass(frozen=True)
class Slots:
    """The slots of a block.

    `positions`: their number. `stride`: granules from one to the next. `begin`: the granule at which the
    constants of the first position's beginning lie. `kept`: names of the buffers that are in slots.
    """

    positions: int
    stride: int
    begin: int
    kept: frozenset[str]

    def buffers(self, layout: Layout, registers: Registers) -> dict[str, int | Address]:
        """The first granule of each buffer of a layout: those that are kept are in the slot of register "slot"."""
        return {name: registers.address("slot", granule) if name in self.kept else granule
                for name, granule in layout.buffers.items()}


def with_most_slots(layout: Layout, most: int, gains: int = 0) -> Layout:
    """`with_slots` for as many positions as MEM has room for, up to `most`. NoBlock if it has not even room for two."""
    while most > 1:
        if (found := with_slots(layout, most, gains)).granules <= layout.config.granules:
            return found
        most //= 2
    raise NoBlock("MEM has no room for the slots of two positions: choose a larger mem_depth")


def with_slots(layout: Layout, positions: int, gains: int = 0) -> Layout:
    """The layout for a block of so many positions: the same W-RAM and segments, another MEM.

    Its `buffers` has the places in the first slot; buffer "kept o" is attention's output. `gains`: values of a buffer for the
    gains of a norm. `granules` may be more than the tile has.
    """
    config, found, sizes = layout.config, copy(layout), buffer_sizes(layout)
    padded = {name: layout.padded_results(name) for name in layout.matrices}
    results = layout.results(padded)
    factors = {name: matrix.results * config.cols for name, matrix in layout.matrices.items()}
    found.buffers = shared = {}

    def lay(at, **values):
        found_at, end = layout.lay(values, at)
        shared.update(found_at)
        return end

    def words(at):
        return layout.in_words(at) * config.granules_per_word

    # Operands of products begin with a word.
    start = words(layout.segment + max(section.granules for section in layout.sections[1:]))
    hidden, dim = lay(start, input=sizes["input"]), start + layout.in_granules(layout.dim)
    up = factors.get(gating(layout), 0)
    at = words(max(lay(hidden, gained=layout.dim), lay(dim, k=sizes["k"]), lay(dim, up=up), lay(start, score=sizes["score"])))
    at = lay(at, q=sizes["q"], gains=gains, factors=max(
        sum(factors[step] for step in section.steps if step in factors) for section in layout.sections))
    shared["o"] = shared["q"]
    # Where a granule is one value, a pair of values that are turned begins with an even granule.
    pair = 2 if config.lanes == 1 else 1
    first = -(-at // pair) * pair
    at = lay(first, x=results["x"], turn=sizes["turn"])
    at = -(-at // pair) * pair
    begin, values = at + (at + layout.layer.get("low", 0)) % pair, layout.in_granules(results["qk"])
    end = max(lay(at, qk=results["qk"]), lay(at + values, v=results["v"]), lay(at, **{"kept o": layout.heads}),
              lay(at, gate=results["gate"]), begin + layout.begin.granules)
    # A result of a product is whole granules, and so are slots: `results` counts both.
    beats = config.beats_per_result * pair
    stride = -(-(end - first) // beats) * beats
    found.slots = Slots(positions, stride, begin, frozenset(("x", "turn", "qk", "v", "kept o", "gate")))
    found.granules = first + positions * stride
    return found


def gating(layout: Layout) -> str | None:
    """The name of the matrix whose results a MULTIPLY takes; None if the model has none."""
    for operation in layout.graph.of_kind(Kind.MULTIPLY):
        for value in operation.inputs:
            producer = layout.graph.producer(value, layout.graph.layer)
            if producer.kind is Kind.LINEAR:
                return producer.name
    return None
