"""Kernels that make the int8 inputs of matrix products, and their scalars."""

from dataclasses import replace

from ....hdl.spec.integer import NORMAL_SHIFT, POWER_SHIFT, RANGE_SHIFT, SQUARE_SHIFT, UNIT_SQUARE_SHIFT
from ....hdl.spec.isa import Instruction, Op, Reduce, Sfu, To
from ...model.graph import Kind, Operation
from ..builder import ABSMAX, LEVEL, POWER, RANGE, SQUARES, Builder
from ..steps import Step, step


def norm(builder: Builder, operation: Operation) -> list[Step]:
    """Normalises the residual: int8 values go to the buffer `input`, their scalar to the register
    `scalar`."""
    return measure(builder, operation) + normalise(builder, operation)


def measure(builder: Builder, operation: Operation) -> list[Step]:
    """Multiplies the residual by the gains, into `gained`, and finds the largest magnitude of the
    result.

    A norm without gains needs no step: the instruction that writes the residual finds its largest
    magnitude (see `measured`).
    """
    if operation.name in builder.layout.uniform:
        return []
    level, shifted = [], {}
    if builder.outline.balanced:
        level, shifted = _level(builder, operation), {"scalar": builder.level}
    return [*level, step(builder.vector_pass(
        "norm: gain", builder.dim_granules, x=builder.buffer["x"], y=builder.place.constant(operation.name), by_vector=1,
        y_step=1, dst=builder.buffer["gained"], shift=builder.shifts[operation.name], reduce=Reduce.ABSMAX, into=ABSMAX,
        **shifted))]


def _level(builder: Builder, operation: Operation) -> list[Step]:
    """Makes two scalars of the layer's level, which its gains' shift depends on; see
    `marey.sw.quant.residual.levels_of`."""
    return [
        step(builder.vector_pass("norm: level", 1, x=builder.place.constant(f"{operation.name}_level"), scalar=0, to=To.NOWHERE,
                                 reduce=Reduce.ABSMAX, into=LEVEL)),
        step(builder.op(Op.SFU, "norm: scales of level", function=Sfu.QUANTISE, a=LEVEL, into=builder.level)),
    ]


def normalise(builder: Builder, operation: Operation) -> list[Step]:
    """Brings the measured vector to int8, while the scalar unit computes 1/rms from the sum of
    squares of the residual."""
    if builder.outline.balanced:
        return _normalise_balanced(builder)
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


def _normalise_balanced(builder: Builder) -> list[Step]:
    """`normalise` for a balanced residual; see `integer.balanced_root`.

    The pass that makes the int8 values comes as early as it can, since the next product waits for
    it; the scalar is needed later, when the product has its first results.
    """
    x, units, normal = builder.buffer["x"], builder.place.constant("units"), builder.buffer["normal"]
    count = builder.layout.in_granules(builder.layout.residual)
    ones = replace(units, offset=units.offset + count)
    products = {"x": x, "y": units, "by_vector": 1, "y_step": 1}
    return [
        step(builder.op(Op.SFU, "norm: int8 scale", function=Sfu.QUANTISE, a=ABSMAX, into=builder.quantiser)),
        step(builder.vector_pass("norm: range", count, **products, shift=RANGE_SHIFT, to=To.NOWHERE, reduce=Reduce.ABSMAX,
                                 into=RANGE)),
        step(to_int8(builder, "norm", builder.buffer["gained"], builder.dim_granules)),
        step(builder.op(Op.SFU, "norm: 1/range", function=Sfu.RECIPROCAL, a=RANGE, epsilon=1, into=builder.inverse)),
        step(builder.vector_pass("norm: normal", count, **products, shift=NORMAL_SHIFT, scalar=builder.inverse, dst=normal)),
        step(builder.vector_pass("norm: squares", count, x=normal, y=normal, by_vector=1, y_step=1, shift=UNIT_SQUARE_SHIFT,
                                 to=To.NOWHERE, reduce=Reduce.SUM, into=SQUARES)),
        step(builder.vector_pass("norm: power of two", 1, x=builder.layout.constants["one"], y=ones, by_vector=1,
                                 shift=POWER_SHIFT, scalar=builder.inverse, to=To.NOWHERE, reduce=Reduce.ABSMAX, into=POWER)),
        step(builder.op(Op.SFU, "norm: scale of range", function=Sfu.QUANTISE, a=POWER, into=builder.power)),
        step(builder.op(Op.SFU, "norm: step", function=Sfu.MULTIPLY, a=builder.step, b=builder.level + 1,
                        into=builder.level)),
        step(builder.op(Op.SFU, "norm: step", function=Sfu.MULTIPLY, a=builder.level, b=builder.power + 1,
                        into=builder.power)),
        step(builder.op(Op.SFU, "norm: 1/rms", function=Sfu.RSQRT, a=SQUARES, into=builder.root)),
        step(builder.op(Op.SFU, "norm: scalar", function=Sfu.MULTIPLY, a=builder.power, b=builder.root, into=builder.scalar)),
    ]


def quantise(builder: Builder, operation: Operation) -> list[Step]:
    """Brings the feed-forward block's hidden vector to int8, in `input`; its scalar goes to the
    register `step`.

    The instruction that writes the hidden vector has found its largest magnitude.
    """
    return [
        step(builder.op(Op.SFU, "hidden: int8 scale", function=Sfu.QUANTISE, a=ABSMAX, into=builder.quantiser)),
        step(to_int8(builder, "hidden", builder.buffer["gate"], builder.layout.in_granules(builder.layout.hidden))),
    ]


def to_int8(builder: Builder, what: str, source: int, count: int) -> Instruction:
    """A pass that brings `count` granules from `source` on to int8, in `input`; the register
    `quantiser` has the factor."""
    return builder.vector_pass(f"{what}: to int8", count, x=source, scalar=builder.quantiser, dst=builder.buffer["input"],
                               narrow=1)


def measured(builder: Builder, value: str) -> dict:
    """Operands that let the instruction that writes the residual `value` find its largest
    magnitude.

    {} unless a norm without gains reads the value.
    """
    readers = {reader.name for reader in builder.graph.of_kind(Kind.NORM) if value in reader.inputs}
    return {"reduce": Reduce.ABSMAX, "into": ABSMAX} if builder.layout.uniform & readers else {}
