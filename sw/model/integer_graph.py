"""The integer graph: a model's graph with the operations that only integers need."""

from dataclasses import replace

from .graph import Graph, Kind, Number, Operation, Phase, Value, check

INTEGER = ".int8"
"""Suffix in the names of values that exist only in the integer graph, such as "hidden.int8"."""
SUMS, JOINED = ".sums", ".joined"
"""Suffixes in the names of the sums of an input's groups, and of the input with these sums behind it."""
RESCALED = ".rescaled"
"""Suffix in the name of the residual in the units of its layer."""
LEAST_GROUP, GROUP_UNIT, MOST_GROUPS = 96, 32, 12
"""Channels of the smallest group of an input of products; channels of which a group has a multiple, so
that arrays of up to 32 rows take whole words; and the most groups of a vector, each of which takes three
scalar registers. What groups are worth is measured in docs/integers.md."""
WEIGHT_GROUP = 32
"""Inputs that share a step and an offset where a balanced model's weights have 4 bits: those of a block of
the formats Q4_0 and Q4_1."""


def bare(name: str) -> str:
    """The name of a value without the suffixes of the integer graph."""
    return name.removesuffix(JOINED).removesuffix(INTEGER)


def maker(graph: Graph, linear: Operation) -> Operation:
    """The operation that makes the input of a LINEAR, or the vector in it if that is joined with sums of its groups."""
    region = graph.layer if linear in graph.layer else graph.end
    made = graph.producer(linear.inputs[0], region)
    return graph.producer(made.inputs[0], region) if made.kind is Kind.JOIN else made


def may_have_offsets(graph: Graph) -> bool:
    """Whether the graph of a float model can become one with offsets: no group of weights has parts of two heads, and
    the feed-forward block multiplies two vectors."""
    return graph.config.head_dim % WEIGHT_GROUP == 0 and any(graph.of_kind(Kind.MULTIPLY))


def joined_size(channels: int) -> int:
    """Channels of a JOIN's result: those of its first input, then twice the sums of its groups, each of the
    three padded to whole groups."""
    sums = -(-channels // WEIGHT_GROUP)
    return (sums + 2 * -(-sums // WEIGHT_GROUP)) * WEIGHT_GROUP


def groups_of(channels: int) -> int:
    """The number of groups into which a vector of so many channels is divided: the most that the
    constants above allow, or 1."""
    sizes = range(LEAST_GROUP, channels, GROUP_UNIT)
    return next((channels // size for size in sizes if channels % size == 0 and channels // size <= MOST_GROUPS), 1)


def integer_graph(graph: Graph, balanced: bool = False, offsets: bool = False) -> Graph:
    """The graph with the operations that only integers need: a QUANTISE before each LINEAR that
    reads 16-bit numbers, and a SPLIT before each SCORES that reads no ROTATE's output.

    `balanced`: the residual has units of its own in each layer (`marey.sw.quant.residual`), so a
    RESCALE changes them when the first norm of a layer has read it. The results of NORM and MULTIPLY,
    and inputs of matrices that are made from the latter, have groups of channels with a scalar each
    (`groups_of`).

    `offsets`: the weights of the layers have an offset for each output and group of inputs, besides a step
    (`marey.sw.quant.affine`). A LINEAR without weights makes the sums of an input's groups, and a JOIN puts
    them behind the input.

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

    def summed(operations):
        made, joined = [], set()
        values = {operation.output.name: operation for operation in operations}
        for operation in operations:
            if operation.kind is Kind.LINEAR:
                source = values[operation.inputs[0]]
                name, value = bare(source.output.name), source.output
                if name not in joined:
                    joined.add(name)
                    sums = Value(name + SUMS, -(-value.size // WEIGHT_GROUP), Number.WIDE)
                    made.append(Operation(kind=Kind.LINEAR, name=f"{name}_sums", inputs=(value.name,), output=sums,
                                          phase=operation.phase, scaled=source.kind is not Kind.VALUES))
                    made.append(Operation(
                        kind=Kind.JOIN, name=f"{name}_joined", inputs=(value.name, sums.name), phase=operation.phase,
                        output=Value(name + JOINED, joined_size(value.size), Number.NARROW,
                                     groups=value.groups and value.groups + 1)))
                operation = replace(operation, inputs=(name + JOINED,))
            made.append(operation)
        return tuple(made)

    layer = region(graph.layer)
    return check(Graph(graph.config, graph.begin, summed(layer) if offsets else layer, region(graph.end)), integers=True)
