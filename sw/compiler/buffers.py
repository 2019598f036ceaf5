"""Sizes of the buffers and tables of a layout in MEM."""

from ...hdl.spec import integer
from ..model.graph import Kind
from ..model.integer_graph import WHOLE, early, keys_at_once

RESULT_BUFFERS = {Kind.ADD: "x", Kind.HEAD_NORM: "qk", Kind.ROTATE: "qk", Kind.SPLIT: "qk", Kind.VALUES: "v",
                  Kind.ACTIVATE: "gate", Kind.MULTIPLY: "up", Kind.CHOOSE: "logits", Kind.JOIN: "sums"}
"""The buffer that a matrix's results go to, by the kind of operation that reads them."""


def buffer_sizes(layout) -> dict[str, int]:
    """Values of each buffer and table of a `Layout`, by name.

    The buffer "factors" has two uses and sizes: "attention factors" for the matrices before
    attention, "factors" for all others.
    """
    model, lanes, shapes = layout.model, layout.config.lanes, layout.shapes()
    rotary, gated = layout.has(Kind.ANGLES), layout.has(Kind.MULTIPLY) or layout.gated
    by_input: dict[str, int] = {}
    for operation in layout.linears:
        if operation.scaled:
            outputs = shapes[operation.name][0] if operation.name in shapes else layout.vocabulary
            joined = layout.source_joined(operation)
            groups = layout.matrices[operation.name].groups if joined else layout.scaled_groups(operation)
            values, source = layout.factor_values(operation.name, outputs * groups), operation.inputs[0].removesuffix(WHOLE)
            by_input[source] = by_input.get(source, 0) + values
    before = next(each for each in layout.linears if each.output.heads).inputs[0]
    return {
        "low": integer.ROTARY_LOW * layout.head * rotary,
        "high": -(-layout.context // integer.ROTARY_LOW) * 4 * layout.head * rotary,
        "positions": layout.context * layout.dim * layout.has(Kind.POSITION),
        "x": layout.residual, "normal": layout.residual * layout.balanced, "gained": layout.dim,
        "input": max(layout.joined(Kind.NORM), 0 if layout.gated else layout.joined(Kind.QUANTISE)),
        "whole": layout.dim * layout.pipelined,
        "qk": shapes["qk"][0],
        "v": shapes["v"][0] if layout.values_wait else 0,
        # The last head's output is whole results, too, which may end behind the vector.
        "q": layout.joined(Kind.VALUES) + layout.value_head - layout.head,
        "sums": max(layout.padded(layout.sums(kind)) for kind in (Kind.NORM, Kind.QUANTISE)),
        "k": 0 if keys_at_once(layout.graph) else layout.kv_heads * rotary,
        "turn": 2 * layout.head * rotary, "score": model.n_heads * layout.context,
        "gate": layout.hidden, "up": layout.hidden * gated, "attention factors": by_input.pop(before, 0),
        "factors": max(by_input.values(), default=0), "logits": layout.vocabulary, "scale": lanes}


def embedding_factor_values(layout) -> int:
    """Values that the embedding's factors take in MEM: one a channel, or one a token and group."""
    if layout.balanced:
        return layout.dim
    return layout.factor_values("embedding", layout.embedding_groups * layout.vocabulary)


def gain_values(layout, name: str) -> int:
    """Values that the gains of a norm take in MEM: none if they are all 1."""
    return 0 if name in layout.uniform else layout.dim


def factor_offsets(layout, factors: dict[str, int]) -> dict[str, int]:
    """Granules, from the first of the buffer "factors" of a `Layout`, of factors that have been multiplied by a scalar.

    The factors of matrices that read the same input are in use together, so they lie one after
    another; those of matrices with different inputs share the same granules. `factors`: values that a matrix's take.
    """
    found: dict[str, int] = {}
    ends: dict[str, int] = {}
    for operation in layout.linears:
        if operation.scaled:
            source = operation.inputs[0].removesuffix(WHOLE)
            scaled = factors[operation.name] // (2 if early(layout.graph, operation) else 1)
            found[operation.name] = ends.get(source, 0)
            ends[source] = found[operation.name] + layout.in_granules(scaled)
    return found
