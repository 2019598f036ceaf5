"""Sizes of the buffers and tables of a layout in MEM."""

from ...hdl.spec import integer
from ..model.graph import Kind
from ..model.integer_graph import WHOLE


def buffer_sizes(layout) -> dict[str, int]:
    """Values of each buffer and table of a `Layout`, by name.

    The buffer "factors" has two uses and sizes: "attention factors" for the matrices before
    attention, "factors" for all others.
    """
    model, lanes, shapes = layout.model, layout.config.lanes, layout.shapes()
    rotary, gated = layout.has(Kind.ANGLES), layout.has(Kind.MULTIPLY)
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
        "input": max(layout.joined(Kind.NORM), layout.joined(Kind.QUANTISE)), "whole": layout.dim * layout.pipelined,
        "qk": layout.heads + layout.kv_heads,
        "v": layout.kv_heads if layout.values_wait else 0, "q": layout.joined(Kind.VALUES),
        "sums": max(layout.padded(layout.sums(kind)) for kind in (Kind.NORM, Kind.QUANTISE)),
        "k": layout.kv_heads * rotary, "turn": 2 * layout.head * rotary, "score": model.n_heads * layout.context,
        "gate": layout.hidden, "up": layout.hidden * gated, "attention factors": by_input.pop(before),
        "factors": max(by_input.values()), "logits": layout.vocabulary, "scale": lanes}
