"""The integer graph: a model's graph with the operations that only integers need."""

from dataclasses import replace

from .graph import Graph, Kind, Number, Operation, Phase, check

INTEGER = ".int8"
"""Suffix in the names of values that exist only in the integer graph, such as "hidden.int8"."""
RESCALED = ".rescaled"
"""Suffix in the name of the residual in the units of its layer."""
LEAST_GROUP, GROUP_UNIT, MOST_GROUPS = 96, 32, 12
"""Channels of the smallest group of an input of products; channels of which a group has a multiple, so
that arrays of up to 32 rows take whole words; and the most groups of a vector, each of which takes three
scalar registers. What groups are worth is measured in docs/integers.md."""


def groups_of(channels: int) -> int:
    """The number of groups into which a vector of so many channels is divided: the most that the
    constants above allow, or 1."""
    sizes = range(LEAST_GROUP, channels, GROUP_UNIT)
    return next((channels // size for size in sizes if channels % size == 0 and channels // size <= MOST_GROUPS), 1)


def integer_graph(graph: Graph, balanced: bool = False) -> Graph:
    """The graph with the operations that only integers need: a QUANTISE before each LINEAR that
    reads 16-bit numbers, and a SPLIT before each SCORES that reads no ROTATE's output.

    `balanced`: the residual has units of its own in each layer (`marey.sw.quant.residual`), so a
    RESCALE changes them when the first norm of a layer has read it. The results of NORM and MULTIPLY,
    and inputs of matrices that are made from the latter, have groups of channels with a scalar each
    (`groups_of`).

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
        products = {each.output.name for each in made if each.kind is Kind.MULTIPLY}
        if balanced:
            made = [replace(each, output=replace(each.output, groups=groups_of(each.output.size)))
                    if each.kind in (Kind.NORM, Kind.MULTIPLY) or (each.kind is Kind.QUANTISE and each.inputs[0] in products)
                    else each for each in made]
        return tuple(made)

    return check(Graph(graph.config, graph.begin, region(graph.layer), region(graph.end)), integers=True)
