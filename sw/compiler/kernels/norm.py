"""Kernels that make the int8 inputs of matrix products, and their scalars."""

from ....hdl.spec.integer import SQUARE_SHIFT
from ....hdl.spec.isa import Op, Reduce, Sfu, To
from ...model.graph import Kind, Operation
from ..builder import ABSMAX, SQUARES, Builder
from ..steps import Step, step


def norm(builder: Builder, operation: Operation) -> list[Step]:
    """From the residual to int8 in `input`, and its scalar."""
    return measure(builder, operation) + normalise(builder, operation)


def measure(builder: Builder, operation: Operation) -> list[Step]:
    """The residual times the gains, and its largest magnitude. Without gains, what writes the residual has measured it."""
    if operation.name in builder.layout.uniform:
        return []
    return [step(builder.vector_pass(
        "norm: gain", builder.dim_granules, x=builder.buffer["x"], y=builder.place.constant(operation.name), by_vector=1,
        y_step=1, dst=builder.buffer["gained"], shift=builder.shifts[operation.name], reduce=Reduce.ABSMAX, into=ABSMAX))]


def normalise(builder: Builder, operation: Operation) -> list[Step]:
    """The int8 inputs, while the root of the mean square is computed from the residual."""
    x = builder.buffer["x"]
    source = x if operation.name in builder.layout.uniform else builder.buffer["gained"]
    return [
        step(builder.op(Op.SFU, "norm: int8 scale", function=Sfu.QUANTISE, a=ABSMAX, into=builder.quantiser)),
        step(builder.vector_pass("norm: squares", builder.dim_granules, x=x, y=x, by_vector=1, y_step=1, shift=SQUARE_SHIFT,
                                 to=To.NOWHERE, reduce=Reduce.SUM, into=SQUARES)),
        step(builder.op(Op.SFU, "norm: 1/rms", function=Sfu.RSQRT, a=SQUARES, into=builder.root,
                        epsilon=builder.outline.epsilon)),
        step(to_int8(builder, "norm", source, builder.dim_granules)),
        step(builder.op(Op.SFU, "norm: scalar", function=Sfu.MULTIPLY, a=builder.step, b=builder.root, into=builder.scalar)),
    ]


def quantise(builder: Builder, operation: Operation) -> list[Step]:
    """From the feed-forward block's hidden vector, which has been measured, to int8 in `input`, and its scalar."""
    return [
        step(builder.op(Op.SFU, "hidden: int8 scale", function=Sfu.QUANTISE, a=ABSMAX, into=builder.quantiser)),
        step(to_int8(builder, "hidden", builder.buffer["gate"], builder.layout.in_granules(builder.layout.hidden))),
    ]


def to_int8(builder: Builder, what: str, source: int, count: int):
    """A pass that brings a measured vector to int8, in the buffer `input`."""
    return builder.vector_pass(f"{what}: to int8", count, x=source, scalar=builder.quantiser, dst=builder.buffer["input"],
                               narrow=1)


def measured(builder: Builder, value: str) -> dict:
    """Operands of the instruction that writes the residual `value`: it measures its largest magnitude, if a norm without
    gains reads it, in this layer or the next region."""
    readers = {reader.name for reader in builder.graph.of_kind(Kind.NORM) if value in reader.inputs}
    return {"reduce": Reduce.ABSMAX, "into": ABSMAX} if builder.layout.uniform & readers else {}
