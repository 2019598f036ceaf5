"""Kernels that make the int8 inputs of matrix products, and their scalars."""

from ....hdl.spec.integer import (
    GAIN_RANGE_SHIFT,
    PRODUCT_RANGE_SHIFT,
    SQUARE_SHIFT,
    UNIT_RANGE_SHIFT,
    UNIT_SQUARE_SHIFT,
)
from ....hdl.spec.isa import Op, Reduce, Sfu, To
from ...model.graph import Kind, Operation
from ...model.integer_graph import WHOLE
from ..builder import ABSMAX, SQUARES, Builder
from ..chained import makes_squares
from ..steps import Step, best, step
from .filling import Filling
from .int8 import Groups, Int8, halves, turns_between


def norm(builder: Builder, operation: Operation) -> list[Step]:
    """Normalises the residual: int8 values go to the buffer `input`, their scalar to the register
    `scalar`, or those of groups to the registers from `group_scalars` on."""
    if operation.output.first:
        first, _ = halves_of(builder, operation)
        return [first.scale(), first.values_between(builder.rate(operation))]
    if operation.name.endswith(WHOLE):
        return _whole(builder, operation)
    if builder.outline.balanced and _matrix_before(builder, operation):
        return _norm_balanced(builder, operation)
    return measure(builder, operation) + normalise(builder, operation)


def halves_of(builder: Builder, operation: Operation) -> list[Int8]:
    """The ways to int8 of the two halves that a NORM or a QUANTISE makes."""
    if operation.kind is Kind.NORM:
        return halves(builder, "norm", operation.output, builder.buffer["x"], builder.dim_granules)
    count = builder.layout.in_granules(builder.layout.hidden)
    return halves(builder, "hidden", operation.output, builder.buffer["gate"], count)


def second_half(builder: Builder, operation: Operation, interval: int) -> list[Step]:
    """The steps of a NORM or a QUANTISE that come behind the product of its first half: the way of the second
    half to int8, and of a norm also 1/rms, by which it multiplies the half's scalar.

    `interval`: cycles from one result of that product to the next; each pass goes in turns that fit its gaps.
    """
    product, builder.operation = builder.operation, operation
    _, second = halves_of(builder, operation)
    steps = [second.scale(), second.values_between(interval)]
    if operation.kind is Kind.NORM:
        x, count = builder.buffer["x"], builder.dim_granules
        squares = [_squares(builder, x, count, SQUARE_SHIFT, **turn) for turn in turns_between(builder, count, interval)]
        steps[1:1] = [best(squares)]
        steps += [_one_over_rms(builder), second.scalar(builder.root, builder.group_scalars + 1)]
    builder.operation = product
    return steps


def first_scalar(builder: Builder, operation: Operation) -> list[Step]:
    """The step that multiplies the scalar of a NORM's first half by 1/rms, behind `second_half`; none for a QUANTISE."""
    if operation.kind is Kind.QUANTISE:
        return []
    product, builder.operation = builder.operation, operation
    steps = [halves_of(builder, operation)[0].scalar(builder.root, builder.group_scalars)]
    builder.operation = product
    return steps


def _whole(builder, operation):
    """The norm for products behind the one that reads it in halves; 1/rms is in its register."""
    x, count = builder.buffer["x"], builder.dim_granules
    interval = builder.rate(operation)
    made = Int8(builder, "norm", x, count, ABSMAX, builder.quantiser, buffer="whole")
    return [
        best([builder.vector_pass("norm: largest", count, x=x, to=To.NOWHERE, reduce=Reduce.ABSMAX, into=ABSMAX, **turn)
              for turn in turns_between(builder, count, interval)]),
        made.scale(), made.values_between(interval), made.scalar(builder.root, builder.scalar)]


def measure(builder: Builder, operation: Operation) -> list[Step]:
    """Multiplies the residual by the gains, into `gained`, and finds the largest magnitude of the
    result. If the residual is balanced: finds its largest magnitude in its units.

    A norm without gains needs no step: the instruction that writes the residual finds its largest
    magnitude (see `measured`).
    """
    if builder.outline.balanced:
        return [_in_units(builder, operation).measure()]
    largest = {} if operation.output.static else {"reduce": Reduce.ABSMAX, "into": ABSMAX}
    if operation.name in builder.layout.uniform:
        if builder.layout.pipelined:  # the pass that writes x has found the largest of each half
            return [step(builder.vector_pass("norm: largest", builder.dim_granules, x=builder.buffer["x"], to=To.NOWHERE,
                                             reduce=Reduce.ABSMAX, into=ABSMAX))]
        return []
    return [step(builder.vector_pass(
        "norm: gain", builder.dim_granules, x=builder.buffer["x"], y=builder.place.constant(operation.name), by_vector=1,
        y_step=1, dst=builder.buffer["gained"], shift=builder.shifts[operation.name], **largest))]


def normalise(builder: Builder, operation: Operation) -> list[Step]:
    """Brings the measured vector to int8, while the scalar unit computes 1/rms from the sum of
    squares of the residual; a static norm multiplies by 1/rms itself."""
    if builder.outline.balanced:
        return _normalise_balanced(builder, operation)
    x = builder.buffer["x"]
    source = x if operation.name in builder.layout.uniform else builder.buffer["gained"]
    if operation.output.static:
        made = Int8(builder, "norm", source, builder.dim_granules, ABSMAX, builder.root)
        first = [] if makes_squares(builder.layout, operation) else [squares(builder)]
        return [*first, _one_over_rms(builder), made.values(shift=builder.shifts[f"{operation.name} int8"])]
    made = Int8.whole(builder, "norm", source, builder.dim_granules)
    return [
        made.scale(),
        step(_squares(builder, x, builder.dim_granules, SQUARE_SHIFT)),
        _one_over_rms(builder),
        made.values(),
        made.scalar(builder.root, builder.scalar),
    ]


def _norm_balanced(builder, operation):
    """A balanced norm behind a matrix: its groups are brought to int8 one after another as the matrix
    makes them, and only 1/rms waits for the last. See `Golden`."""
    stages, in_units = list(_gained(builder, operation).stages()), _in_units(builder, operation)
    return [*(each for stage in stages[:-2] for each in stage), in_units.measure(), in_units.invert(), *stages[-2],
            *_root(builder, in_units), *stages[-1], *_scaled(builder, operation)]


def _normalise_balanced(builder, operation):
    """`normalise` for a balanced residual that is there as a whole; see `Golden`. 1/rms takes the
    longest, so its passes come first."""
    first, *stages = _gained(builder, operation).stages()
    in_units = _in_units(builder, operation)
    return [in_units.invert(), *first, *_root(builder, in_units), *(each for stage in stages for each in stage),
            *_scaled(builder, operation)]


def _in_units(builder, operation):
    """The filling of the residual in its units; see `marey.sw.quant.residual`."""
    return Filling(builder, "norm: units", builder.layout.in_granules(builder.layout.residual), builder.buffer["x"],
                   builder.place.constant(f"{operation.name}_units"), UNIT_RANGE_SHIFT)


def _gained(builder, operation):
    """The way of the residual, times the gains, to int8."""
    matrix = _matrix_before(builder, operation) or builder.place.matrix("qk")
    return Groups(builder, "norm: gain", operation.output, builder.dim_granules, builder.buffer["x"],
                  builder.place.constant(operation.name), GAIN_RANGE_SHIFT, builder.buffer["gained"],
                  matrix.rate)


def _matrix_before(builder, operation):
    """The matrix that writes the residual, if that is in the norm's section; else None."""
    layer = builder.graph.layer
    before = layer[:layer.index(operation)] if operation in layer else ()
    for add in (each for each in before if each.output.name == operation.inputs[0]):
        return builder.place.matrix(builder.graph.producer(add.inputs[1], layer).name)
    return None


def _root(builder, in_units):
    """Steps that make 1/rms, times the scalar of the units, in the register `root`."""
    normal = builder.buffer["normal"]
    return [
        in_units.fill(normal),
        step(_squares(builder, normal, in_units.count, UNIT_SQUARE_SHIFT)),
        *in_units.scalars(),
        step(builder.op(Op.SFU, "norm: 1/rms", function=Sfu.RSQRT, a=SQUARES, into=builder.root)),
        step(builder.op(Op.SFU, "norm: 1/rms", function=Sfu.MULTIPLY, a=in_units.scalar + 1, b=builder.root,
                        into=builder.root)),
    ]


def squares(builder: Builder) -> Step:
    """The pass that adds up the squares of the residual."""
    return step(_squares(builder, builder.buffer["x"], builder.dim_granules, SQUARE_SHIFT))


def _squares(builder, x, count, shift, **turns):
    """The pass that adds up the squares of `count` granules; `turns`: counts of a pass in several pieces."""
    return builder.vector_pass("norm: squares", count, x=x, y=x, y_step=1, by_vector=1, shift=shift, to=To.NOWHERE,
                               reduce=Reduce.SUM, into=SQUARES, **turns)


def _one_over_rms(builder):
    """The step that makes 1/rms of a sum of squares, in the register `root`."""
    return step(builder.op(Op.SFU, "norm: 1/rms", function=Sfu.RSQRT, a=SQUARES, into=builder.root,
                           epsilon=builder.outline.epsilon))


def _scaled(builder, operation):
    """Steps that multiply the scalars of a norm's groups by 1/rms."""
    scalars = range(builder.group_scalars, builder.group_scalars + operation.output.groups)
    return [step(builder.op(Op.SFU, "norm: scalar", function=Sfu.MULTIPLY, a=scalar, b=builder.root, into=scalar))
            for scalar in scalars]


def quantise(builder: Builder, operation: Operation) -> list[Step]:
    """Brings the feed-forward block's hidden vector to int8, in `input`; its scalar goes to the
    register `step`.

    The instruction that writes the hidden vector has found its largest magnitude. In a balanced model
    this kernel makes the product, group by group; see `Groups`.
    """
    if operation.output.first:
        first, _ = halves_of(builder, operation)
        return [first.scale(), first.values_between(builder.rate(operation))]
    count, gate = builder.layout.in_granules(builder.layout.hidden), builder.buffer["gate"]
    if not operation.output.groups:
        made = Int8.whole(builder, "hidden", gate, count)
        return [made.scale(), made.values()]
    groups = Groups(builder, "hidden", operation.output, count, gate, builder.buffer["up"], PRODUCT_RANGE_SHIFT, gate,
                    builder.rate(operation))
    return [each for stage in groups.stages() for each in stage]


def measured(builder: Builder, value: str) -> list[tuple[int, int, dict[str, int | Reduce]]]:
    """[(first granule, granule after the last, operands)]: the parts in which an instruction writes the residual
    `value`, and the operands with which it finds their largest magnitudes.

    Two halves, if a norm reads them apart; else the whole, without operands unless a norm without gains reads it.
    """
    readers = [reader for reader in builder.graph.of_kind(Kind.NORM) if value in reader.inputs]
    for reader in readers:
        if reader.output.first:
            return [(first, end, {"reduce": Reduce.ABSMAX, "into": builder.peaks + half})
                    for half, (first, end) in enumerate(builder.halves(reader.output, builder.dim_granules))]
    found = any(reader.name in builder.layout.uniform and not reader.output.static for reader in readers)
    return [(0, builder.dim_granules, {"reduce": Reduce.ABSMAX, "into": ABSMAX} if found else {})]
