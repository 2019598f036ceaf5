"""The integer graph: a model's graph with the operations that only integers need.

Inputs of matrices are brought to 8 bits by their own largest value, so a product waits for the last
channel of its input. In a *pipelined* graph, the first half of a residual or a hidden vector has a scalar
of its own: its product runs while the second half is still on its way.
"""

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


def matrices_reading(graph: Graph, value: str) -> list[Operation]:
    """The LINEAR operations that read a value, which is a norm's or a product's, in a float model's graph."""
    return [each for each in graph.of_kind(Kind.LINEAR) if value in each.inputs]


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


WHOLE = "_whole"
"""Suffix in the names of a norm without halves, beside one with halves, and of its result."""
LEAST_HALVED = 64
"""Channels of the smallest vector that is divided into halves."""


def first_half(channels: int) -> int:
    """The channels of the first half of a vector, a multiple of GROUP_UNIT; 0 if it is too small to be divided."""
    return -(-channels // 2 // GROUP_UNIT) * GROUP_UNIT if channels >= LEAST_HALVED else 0


def integer_graph(graph: Graph, balanced: bool = False, offsets: bool = False, pipelined: bool = False,
                  static: bool = False, gated: bool = False) -> Graph:
    """The graph with the operations that only integers need: a QUANTISE before each LINEAR that
    reads 16-bit numbers, and a SPLIT before each SCORES that reads no ROTATE's output.

    `balanced`: the residual has units of its own in each layer (`marey.sw.quant.residual`), so a
    RESCALE changes them when the first norm of a layer has read it. The results of NORM and MULTIPLY,
    and inputs of matrices that are made from the latter, have groups of channels with a scalar each
    (`groups_of`).

    `offsets`: the weights of the layers have an offset for each output and group of inputs, besides a step
    (`marey.sw.quant.affine`). A LINEAR without weights makes the sums of an input's groups, and a JOIN puts
    them behind the input.

    `pipelined`, of a residual that is not balanced: norms and QUANTISE have results in two halves
    (`first_half`). The first matrix that reads such a result is `early`. A matrix of a feed-forward block that
    comes later reads a norm without halves: its results are complete sooner. The classifier has no halves if
    its results are not multiplied by a scalar, since each half needs its own.

    `static`, of a residual that is not balanced: the results of NORM and MULTIPLY that matrices read have 8 bits in a
    unit that calibration gives (`marey.sw.quant.static`), and no scalar; matrices' results are not multiplied by one.

    `gated`, of a static graph: the matrix that makes the second input of a MULTIPLY makes the product itself: it multiplies
    its sums by the first input, before they are rounded.

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

    layer, end = region(graph.layer), region(graph.end)
    if offsets:
        layer = _with_sums(layer)
    elif pipelined and not balanced:
        layer = _in_halves(layer)
        if all(each.scaled for each in end if each.kind is Kind.LINEAR):
            end = _in_halves(end)
    elif static and not balanced:
        layer, end = _static(layer), _static(end)
        if gated:
            layer = _gated(layer)
    return check(Graph(graph.config, graph.begin, layer, end), integers=True)


def _static(region: tuple[Operation, ...]) -> tuple[Operation, ...]:
    """The operations of a region, with static inputs of matrices; see `integer_graph`."""
    makers = {operation.output.name: operation for operation in region}
    quantised = {each.output.name: each.inputs[0] for each in region
                 if each.kind is Kind.QUANTISE and makers[each.inputs[0]].kind is Kind.MULTIPLY}
    made = []
    for operation in region:
        value, source = operation.output, operation.inputs[0]
        if value.name in quantised:
            continue
        if operation.kind is Kind.NORM or value.name in quantised.values():
            operation = replace(operation, output=replace(value, number=Number.NARROW, static=True))
        elif operation.kind is Kind.LINEAR and (source in quantised or makers[source].kind is Kind.NORM):
            operation = replace(operation, inputs=(quantised.get(source, source),), scaled=False)
        made.append(operation)
    return tuple(made)


def _gated(region: tuple[Operation, ...]) -> tuple[Operation, ...]:
    """The operations of a region, whose products are made by the matrices before them; see `integer_graph`."""
    products = {operation.inputs[1]: operation for operation in region if operation.kind is Kind.MULTIPLY}
    matrices = {product.name: operation for operation in region if (product := products.get(operation.output.name))}
    return tuple(replace(matrix, inputs=(*matrix.inputs, operation.inputs[0]), output=operation.output)
                 if (matrix := matrices.get(operation.name)) else operation
                 for operation in region if operation not in matrices.values())


def _with_sums(region: tuple[Operation, ...]) -> tuple[Operation, ...]:
    """The operations of a region whose weights have offsets; see `integer_graph`."""
    made, joined = [], set()
    values = {operation.output.name: operation for operation in region}
    for operation in region:
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


def keys_at_once(graph: Graph) -> bool:
    """Whether keys get the bits of the cache as they are turned, so that they are rounded once and have no offsets: those of
    a static graph. Else a pass behind that adds the offsets."""
    return any(value.static for value in graph.values) and any(graph.of_kind(Kind.ROTATE))


def early(graph: Graph, linear: Operation) -> bool:
    """Whether a matrix is the first to read an input in halves, and so begins before its scalars are known."""
    region = graph.layer if linear in graph.layer else graph.end
    source = linear.inputs[0]
    return graph.producer(source, region).output.first > 0 and graph.readers(source, region)[0] == linear


def _in_halves(region: tuple[Operation, ...]) -> tuple[Operation, ...]:
    """The operations of a region, pipelined; see `integer_graph`."""
    made: list[Operation] = []
    wholes, read = {}, set()
    for operation in region:
        source, value = operation.inputs[0], operation.output
        if operation.kind in (Kind.NORM, Kind.QUANTISE) and first_half(value.size):
            if operation.kind is Kind.NORM:
                whole = replace(value, name=value.name + WHOLE)
                wholes[value.name] = replace(operation, name=operation.name + WHOLE, output=whole)
            operation = replace(operation, output=replace(value, first=first_half(value.size)))
        elif source in read and source in wholes and not value.heads:
            whole = wholes[source]
            made += [whole] * (whole not in made)
            operation = replace(operation, inputs=(whole.output.name,))
        elif operation.kind is Kind.LINEAR:
            read.add(source)
        made.append(operation)
    return tuple(made)
