"""Kernels of operations that compute channel by channel: functions, and products of two vectors."""

from ....hdl.spec.integer import GATE_SHIFT, RESCALE_SHIFT
from ....hdl.spec.isa import Function, Reduce, Then
from ...model.graph import Kind, Operation
from ..builder import ABSMAX, Builder, moved_by
from ..chained import then_of
from ..steps import Step, best

FUNCTIONS = {"silu": Function.SILU, "gelu": Function.GELU}
"""Functions of the VXM, by the name of an ACTIVATE's function."""


def activate(builder: Builder, operation: Operation) -> list[Step]:
    """Applies the operation's function to the buffer `gate`, in place; or into `up`, if a gated matrix reads it there.

    The pass can use the cycles in which the VXM waits for results of the next product. In a chained tile there is none where
    the product before applies the function.
    """
    if then_of(builder.layout, builder.graph.producer(operation.inputs[0], builder.graph.layer)) is Then.SILU:
        return []
    gate = builder.buffer["gate"]
    dst = builder.buffer["up"] if builder.layout.gated else gate
    return [best(builder.spread(operation.name, end - first, builder.rate(operation), function=FUNCTIONS[operation.function],
                                x=moved_by(gate, first), dst=moved_by(dst, first), shift=GATE_SHIFT, **reduced))
            for first, end, reduced in _measured(builder, operation)]


def rescale(builder: Builder, operation: Operation) -> list[Step]:
    """Multiplies the residual by a number of its own in each channel, in place.

    The pass can use the cycles in which the VXM waits for results of the products before the scores.
    """
    x, scores = builder.buffer["x"], next(builder.graph.of_kind(Kind.SCORES))
    return [best(builder.spread("rescale", builder.dim_granules, builder.rate(scores), x=x, dst=x, shift=RESCALE_SHIFT,
                                y=builder.place.constant(operation.name), y_step=1, by_vector=1))]


def multiply(builder: Builder, operation: Operation) -> list[Step]:
    """Multiplies `gate` by `up`, in place; or, if the result is static, into `input`, as int8.

    Choices: all in one piece, or each result of the product that makes `up` as soon as it is there.
    In a balanced model the QUANTISE that reads the product makes it; see `norm.quantise`.
    """
    if operation.output.groups:
        return []
    beats, gate, up, steps = builder.config.beats_per_result, builder.buffer["gate"], builder.buffer["up"], []
    for first, end, reduced in _measured(builder, operation):
        count = end - first
        turns = [{}, *({"inner": inner, "middle": count // inner, "interval": builder.rate(operation)}
                       for inner in (beats, 2 * beats) if count % inner == 0)]
        x, y = moved_by(gate, first), moved_by(up, first)
        product = {"x": x, "y": y, "y_step": 1, "by_vector": 1, **_made(builder, operation, x),
                   "shift": builder.shifts[operation.name], **reduced}
        steps.append(best([builder.vector_pass("silu(gate) * up", count, **product | turn) for turn in turns]))
    return steps


def _made(builder, operation, x):
    """Operands that say where a product goes: int8 to `input`, or 16 bits to `x`."""
    return {"dst": builder.buffer["input"], "narrow": 1} if operation.output.static else {"dst": x}


def _measured(builder, operation):
    """[(first granule, granule after the last, operands)] of the passes over a hidden vector: one, or one for each half.

    The operands find the largest magnitude, if a QUANTISE reads the result.
    """
    count = builder.layout.in_granules(builder.layout.hidden)
    reader = builder.graph.readers(operation.output.name, builder.graph.layer)[0]
    if reader.kind is not Kind.QUANTISE:
        return [(0, count, {})]
    peak = builder.peaks if reader.output.first else ABSMAX
    return [(first, end, {"reduce": Reduce.ABSMAX, "into": peak + half})
            for half, (first, end) in enumerate(builder.halves(reader.output, count))]
