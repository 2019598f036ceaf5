"""Kernels that make the int8 inputs of matrix products, and their scalars."""

from ....hdl.spec.integer import GAIN_RANGE_SHIFT, SQUARE_SHIFT, UNIT_RANGE_SHIFT, UNIT_SQUARE_SHIFT
from ....hdl.spec.isa import Instruction, Op, Reduce, Sfu, To
from ...model.graph import Kind, Operation
from ..builder import ABSMAX, SQUARES, Builder
from ..steps import Step, best, step
from .filling import Filling


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
    if builder.outline.balanced:
        gained, in_units = _fillings(builder, operation)
        return [best([gained.measure(), *_following(builder, operation, gained)]), step(in_units.measure()),
                *gained.fill(builder.buffer["gained"], reduce=Reduce.ABSMAX, into=ABSMAX)]
    if operation.name in builder.layout.uniform:
        return []
    return [step(builder.vector_pass(
        "norm: gain", builder.dim_granules, x=builder.buffer["x"], y=builder.place.constant(operation.name), by_vector=1,
        y_step=1, dst=builder.buffer["gained"], shift=builder.shifts[operation.name], reduce=Reduce.ABSMAX, into=ABSMAX))]


def _following(builder, operation, gained):
    """The pass that finds the largest product, as it follows the results of the matrix that writes the residual: a
    choice if that is in the norm's section, else none."""
    layer, beats = builder.graph.layer, builder.config.beats_per_result
    before = layer[:layer.index(operation)] if operation in layer else ()
    for add in (each for each in before if each.output.name == operation.inputs[0]):
        matrix = builder.place.matrix(builder.graph.producer(add.inputs[1], layer).name)
        return [gained.measure(inner=beats, middle=gained.count // beats, interval=matrix.inner)]
    return []


def _fillings(builder, operation):
    """The two vectors of a balanced norm: the residual times the gains, and the residual in its
    units; see `marey.sw.quant.residual`."""
    x, residual = builder.buffer["x"], builder.layout.in_granules(builder.layout.residual)
    gains, units = (builder.place.constant(name) for name in (operation.name, f"{operation.name}_units"))
    return (Filling(builder, "norm: gain", builder.dim_granules, x, gains, GAIN_RANGE_SHIFT),
            Filling(builder, "norm: units", residual, x, units, UNIT_RANGE_SHIFT, 1))


def normalise(builder: Builder, operation: Operation) -> list[Step]:
    """Brings the measured vector to int8, while the scalar unit computes 1/rms from the sum of
    squares of the residual."""
    if builder.outline.balanced:
        return _normalise_balanced(builder, operation)
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


def _normalise_balanced(builder, operation):
    """`normalise` for a balanced residual; see `Golden`.

    The VXM has a beat in nearly every cycle from the first pass on. The next product waits for the last pass,
    which makes the int8 values, and its first results for the scalar, whose factors are made as early as they
    can be: only 1/rms and one product are left when the squares are summed.
    """
    normal, (gained, in_units) = builder.buffer["normal"], _fillings(builder, operation)
    return [
        step(builder.op(Op.SFU, "norm: int8 scale", function=Sfu.QUANTISE, a=ABSMAX, into=builder.quantiser)),
        *in_units.fill(normal),
        *gained.scalars(),
        *in_units.scalars(),
        step(builder.op(Op.SFU, "norm: step", function=Sfu.MULTIPLY, a=builder.step, b=gained.power, into=builder.step)),
        step(builder.op(Op.SFU, "norm: step", function=Sfu.MULTIPLY, a=builder.step, b=in_units.power + 1,
                        into=builder.step)),
        step(builder.vector_pass("norm: squares", in_units.count, x=normal, y=normal, y_step=1, by_vector=1,
                                 shift=UNIT_SQUARE_SHIFT, to=To.NOWHERE, reduce=Reduce.SUM, into=SQUARES)),
        step(to_int8(builder, "norm", builder.buffer["gained"], builder.dim_granules)),
        step(builder.op(Op.SFU, "norm: 1/rms", function=Sfu.RSQRT, a=SQUARES, into=builder.root)),
        step(builder.op(Op.SFU, "norm: scalar", function=Sfu.MULTIPLY, a=builder.step, b=builder.root, into=builder.scalar)),
    ]


def quantise(builder: Builder, operation: Operation) -> list[Step]:
    """Brings the feed-forward block's hidden vector to int8, in `input`; its scalar goes to the
    register `step`.

    The instruction that writes the hidden vector has found its largest magnitude. If the vector has
    a scalar, as the product of a balanced model, it is multiplied into `step`.
    """
    steps = [
        step(builder.op(Op.SFU, "hidden: int8 scale", function=Sfu.QUANTISE, a=ABSMAX, into=builder.quantiser)),
        step(to_int8(builder, "hidden", builder.buffer["gate"], builder.layout.in_granules(builder.layout.hidden))),
    ]
    if builder.outline.balanced and builder.graph.producer(operation.inputs[0], builder.graph.layer).kind is Kind.MULTIPLY:
        steps.append(step(builder.op(Op.SFU, "hidden: scalar", function=Sfu.MULTIPLY, a=builder.step, b=builder.power,
                                     into=builder.step)))
    return steps


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
