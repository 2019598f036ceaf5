"""Kernels of a token's beginning: its embedding, the row of its position, and the angles of rotary
embedding."""

from dataclasses import replace

from ....hdl.mxm.mxm import Mxm
from ....hdl.spec.integer import ROTARY_LOW
from ....hdl.spec.isa import Address, Op, Reduce, Source, To
from ...model.graph import Operation
from ..builder import REDUCED, Builder, log2, moved_by
from ..distances import take_offset
from ..steps import Step, step
from .norm import measured


def look_up(builder: Builder, operation: Operation) -> list[Step]:
    """Fetches the token's row of the embedding from W-RAM and writes it, times its factors, to
    x."""
    config, layout = builder.config, builder.layout
    factor, row, inner = layout.constants["embedding"], layout.embedding, layout.classifier.inner
    groups, parts, steps = layout.embedding_groups, measured(builder, operation.output.name), []
    # If x is measured in parts of equal size, each is a round.
    together = groups == 1 and len({end - first for first, end, _ in parts}) == 1
    rounds = len(parts) if together else groups
    if layout.balanced:
        steps.append(step(builder.vector_pass("norms' epsilon", 1, x=layout.constants["epsilon"], scalar=0,
                                              dst=builder.buffer["x"] + builder.dim_granules)))
        factors = {"by_vector": 1, "y": factor, "y_step": 1}
    elif "embedding" in layout.uniform:
        factors = {"by_vector": 1, "y": factor}
    else:
        factors = {"scalar": REDUCED, "scalar_hop": int(groups > 1)}
        steps += [
            builder.index("once", Source.TOKEN, log2(config.lanes), 1, factor,
                          builder.bits(builder.shape.vocab_size, log2(config.lanes))),
            step(builder.op(Op.VXM, "embedding: factor", **builder.second_engine, reduce=Reduce.PICK,
                            x=builder.registers.address("once"), x_hop=layout.in_granules(layout.vocabulary),
                            outer=groups, into=REDUCED)),
        ]
    if config.granules_per_word > 1:
        steps.append(step(builder.op(Op.PERIOD, value=config.granules_per_word)))
    fetch = builder.op(Op.MXM, "embedding", fetch=1, wgt=builder.registers.address("once_more"), outer=inner, wgt_hop=1,
                       wrap=inner, paced=int(config.granules_per_word > 1))
    take = builder.op(Op.VXM, "embedding", stream=1, shift=builder.shifts["embedding"], dst=builder.buffer["x"], to=To.MEM,
                      dst_hop=builder.dim_granules // rounds, inner=builder.dim_granules // rounds, outer=rounds,
                      **factors | (parts[0][2] if together else {}))
    offsets = 0, take_offset(config, Mxm.fetch_latency(config))
    steps.append(builder.index("once_more", Source.TOKEN, log2(config.cols), inner, row,
                               builder.bits(builder.shape.vocab_size, log2(config.cols))))
    if layout.classifier.halves > 1:
        # The high half of each value, times 16, is written to x; then the low half is added.
        low = replace(fetch["wgt"], offset=fetch["wgt"].offset + layout.classifier.words // 2)
        steps.append(step(fetch, builder.op(Op.VXM, "embedding", **take.operands | {
            "shift": builder.shifts["embedding"] - 4}), offsets=offsets))
        fetch = builder.op(Op.MXM, "embedding", **fetch.operands | {"wgt": low})
        take = builder.op(Op.VXM, "embedding", **take.operands | {"plus": 1, "x": builder.buffer["x"], "x_step": 1})
    steps.append(step(fetch, take, offsets=offsets))
    return steps + ([] if together else measure_x(builder, parts))


def measure_x(builder: Builder, parts: list[tuple[int, int, dict]]) -> list[Step]:
    """Passes that find the largest magnitudes of parts of x; see `norm.measured`."""
    return [step(builder.vector_pass("norm: largest", end - first, x=moved_by(builder.buffer["x"], first), to=To.NOWHERE,
                                     **reduced))
            for first, end, reduced in parts if reduced]


def take_row(builder: Builder, operation: Operation) -> list[Step]:
    """Writes the token's row of the embedding, which the host has put into the segment, to x."""
    return [step(builder.vector_pass(
        "embedding", builder.dim_granules, x=builder.place.constant("row"), by_vector=1,
        y=builder.place.constant("row_factor"), y_step=int(builder.layout.embedding_groups > 1), dst=builder.buffer["x"],
        shift=builder.shifts["embedding"]))]


def look_up_position(builder: Builder, operation: Operation) -> list[Step]:
    """Adds the position's row of a table in MEM to x."""
    register = "once"
    return [
        builder.index(register, Source.POSITION, 0, builder.dim_granules, builder.layout.constants[operation.name],
                      builder.bits(builder.layout.context, 0)),
        *add_row(builder, operation, builder.registers.address(register)),
    ]


def take_position(builder: Builder, operation: Operation) -> list[Step]:
    """Adds the position's row, which the host has put into the segment, to x."""
    return add_row(builder, operation, builder.place.constant("position_row"))


def add_row(builder: Builder, operation: Operation, row: Address) -> list[Step]:
    """Passes that add a row of a table to x."""
    x = builder.buffer["x"]
    return [step(builder.vector_pass("position", end - first, x=moved_by(x, first), plus=1, y=moved_by(row, first), y_step=1,
                                     dst=moved_by(x, first), **reduced))
            for first, end, reduced in measured(builder, operation.output.name)]


def look_up_angles(builder: Builder, operation: Operation) -> list[Step]:
    """Computes the rotations of the position from two tables in MEM; see `fill.tables`."""
    layout, head = builder.layout, builder.head_granules
    low, high = layout.constants["low"], layout.constants["high"]
    return [
        builder.index("once", Source.POSITION, 0, head, low, bits=log2(ROTARY_LOW)),
        builder.index("once_more", Source.POSITION, log2(ROTARY_LOW), 4 * head, high,
                      builder.bits(layout.context, log2(ROTARY_LOW))),
        _add_angles(builder, builder.registers.address("once"), builder.registers.address("once_more")),
    ]


def take_angles(builder: Builder, operation: Operation) -> list[Step]:
    """Computes the rotations of the position from two table rows that the host has put into the
    segment."""
    return [_add_angles(builder, builder.place.constant("low"), builder.place.constant("high"))]


def _add_angles(builder, low, high):
    """Computes the rotation by the sum of two angles, from the rotations by each.

    `turn` gets pairs of granules: cosines, then sines.
    """
    return step(builder.op(Op.VXM, "rotation", **builder.second_engine, pair=1, by_vector=1, x=low, y=high,
                           y_step=1, dst=builder.buffer["turn"], outer=builder.head_granules, inner=4, x_hop=1,
                           y_hop=4, dst_hop=2, shift=14, to=To.MEM))
