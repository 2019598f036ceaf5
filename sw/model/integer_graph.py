"""The integer graph: a model's graph with the operations that only integers need."""

from dataclasses import replace

from .graph import Graph, Kind, Number, Operation, Phase, check

INTEGER = ".int8"
"""Suffix in the names of values that exist only in the integer graph, such as "hidden.int8"."""
RESCALED = ".rescaled"
"""Suffix in the name of the residual in the units of its layer."""


def integer_graph(graph: Graph, balanced: bool = False) -> Graph:
    """The graph with the operations that only integers need: a QUANTISE before each LINEAR that
    reads 16-bit numbers, and a SPLIT before each SCORES that reads no ROTATE's output.

    `balanced`: the residual has units of its own in each layer (`marey.sw.quant.residual`), so a
    RESCALE changes them when the first norm of a layer has read it.

    GraphError if the result is not legal.
    """

    def region(operations):
        made, residual, wide = [], "x", {operation.output.name: operation.output for operation in operations
                          if operation.output.number is Number.WIDE}
        rotated = {operation.output.name for operation in operations if operation.kind is Kind.ROTATE}
        for operation in operations:
            if operation.kind is Kind.SCORES and balanced:
                rescaled = replace(wide[residual], name=residual + RESCALED)
                made.append(Operation(kind=Kind.RESCALE, name="rescale", inputs=(residual,), output=rescaled, phase=Phase.NORM))
                residual = rescaled.name
            operation = replace(operation, inputs=tuple(residual if name == "x" else name for name in operation.inputs))
            if operation.kind is Kind.SCORES and operation.inputs[0] not in rotated:
                (source,) = operation.inputs
                heads = replace(wide[source], name=source + INTEGER)
                made.append(Operation(kind=Kind.SPLIT, name="heads", inputs=(source,), output=heads, phase=Phase.QKV))
                operation = replace(operation, inputs=(heads.name,))
            if operation.kind is Kind.LINEAR and (value := wide.get(operation.inputs[0])):
                narrow = replace(value, name=value.name + INTEGER, number=Number.NARROW)
                made.append(Operation(kind=Kind.QUANTISE, name=value.name, inputs=(value.name,), output=narrow,
                                      phase=operation.phase))
                operation = replace(operation, inputs=(narrow.name,))
            made.append(operation)
        return tuple(made)

    return check(Graph(graph.config, graph.begin, region(graph.layer), region(graph.end)), integers=True)
