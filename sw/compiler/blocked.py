"""Operations of one position of a block: steps that a section needs beside those of its operations.

A section finds nothing of an earlier section but what is in the position's slot (see `slots.py`). So before its
matrix it makes the int8 input, and the input's scalar, again.
"""

from collections.abc import Callable, Iterable, Sequence

from ...hdl.spec.integer import MANTISSA_BITS
from ...hdl.spec.isa import Reduce, To
from ..model.graph import Kind, Operation
from .builder import ABSMAX, Builder
from .kernels import steps_of
from .kernels.elementwise import FUNCTIONS
from .slots import gating
from .steps import Step, step


def in_slot(builder: Builder, operations: Sequence[Operation], made: Kind | None,
            steps: Callable[[Operation], Iterable[Step]]) -> list[Step]:
    """The steps of operations of a section, with those that make the input of its matrix again.

    `made`: the kind of an operation before them in the section, whose result is there. `steps`: makes the steps of
    an operation.
    """
    gate = builder.graph.find(gating(builder.layout) or "")
    if gate:
        # They are done with the matrix whose results they take: see `_gated`.
        operations = [each for each in operations
                      if each.kind not in (Kind.ACTIVATE, Kind.MULTIPLY) and not _reads_product(builder, each)]
    found: list[Step] = []
    for operation in operations:
        if operation.kind is Kind.LINEAR:
            source = builder.graph.producer(operation.inputs[0], builder.graph.layer)
            if source not in operations and source.kind is not made:
                found += restored(builder, source)
        found += steps(operation)
        if operation is gate:
            found += _gated(builder, operation)
    return found


def restored(builder: Builder, source: Operation) -> list[Step]:
    """Steps that make the input of a matrix from what is in the slot. `source`: the operation that makes it."""
    builder.operation = source
    if source.kind is Kind.VALUES:
        return [_copy(builder, "kept o", "o")]
    measured = []
    if source.kind is Kind.QUANTISE:
        measured = [step(builder.vector_pass("hidden: largest", builder.layout.in_granules(builder.layout.hidden),
                                             x=builder.buffer["gate"], to=To.NOWHERE, reduce=Reduce.ABSMAX, into=ABSMAX))]
    return measured + steps_of(builder, source)


def kept_output(builder: Builder) -> list[Step]:
    """Steps that keep attention's output in the slot, for further chunks of the matrix behind it."""
    return [_copy(builder, "o", "kept o")]


def _copy(builder, source, to):
    granules = builder.layout.in_granules(builder.layout.heads)
    return step(builder.vector_pass("attention's output", granules, x=builder.buffer[source], dst=builder.buffer[to]))


def _reads_product(builder, operation):
    """Whether an operation is the QUANTISE of a MULTIPLY's result."""
    producer = builder.graph.producer(operation.inputs[0], builder.graph.layer)
    return operation.kind is Kind.QUANTISE and producer.kind is Kind.MULTIPLY


def _gated(builder, linear):
    """Steps that multiply a chunk of the hidden vector by the results that a matrix has just made, behind the function
    of the chunk. So the results need no place in the slot."""
    graph = builder.graph
    product = graph.readers(linear.output.name, graph.layer)[0]
    count = builder.place.matrix(linear.name).results * builder.config.beats_per_result
    gate, up, steps = builder.place.results("gate"), builder.place.results("up"), []
    for value in product.inputs:
        made = graph.producer(value, graph.layer)
        if made.kind is Kind.ACTIVATE:
            builder.operation = made
            steps.append(step(builder.vector_pass(made.name, count, function=FUNCTIONS[made.function], x=gate, dst=gate,
                                                  shift=MANTISSA_BITS)))
    builder.operation = product
    return [*steps, step(builder.vector_pass("gate * up", count, x=gate, y=up, y_step=1, by_vector=1, dst=gate,
                                             shift=builder.shifts[product.name]))]
