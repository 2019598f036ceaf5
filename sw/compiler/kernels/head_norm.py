"""The kernel of the norms of queries and keys, head by head; see `integer.normalised`."""

from ....hdl.spec.integer import HEAD_FILL_SHIFT, HEAD_ROOT_SHIFT, UNIT_SQUARE_SHIFT
from ....hdl.spec.isa import Op, Reduce, Sfu, To
from ...model.graph import Operation
from ..builder import REDUCED, Builder
from ..steps import Step, step


def head_norm(builder: Builder, operation: Operation) -> list[Step]:
    """Normalises each head in the buffer `qk`, in its place, and multiplies it by its gains.

    Each pass has a round for each head, with scalars of its own: the lower half of the registers has
    the heads' reductions from `REDUCED` on, the upper half their scalars from `reciprocals` on. The
    scalar unit takes the heads a period apart.
    """
    count, head, raw = builder.shape.n_heads + builder.shape.n_kv_heads, builder.head_granules, builder.buffer["qk"]

    def rounds(what, **operands):
        return step(builder.vector_pass(f"heads: {what}", head, outer=count, x=raw, x_hop=head, **operands))

    def scalars(what, function):
        return step(builder.op(Op.SFU, f"heads: {what}", function=function, a=REDUCED, into=builder.reciprocals, count=count))

    reduced = {"to": To.NOWHERE, "into": REDUCED}
    made = {"dst": raw, "dst_hop": head}
    by_scalar = {"scalar": builder.reciprocals, "scalar_hop": 1, **made}
    return [
        rounds("largest", scalar=0, reduce=Reduce.ABSMAX, **reduced),
        scalars("1/largest", Sfu.RECIPROCAL),
        rounds("fill 16 bits", shift=HEAD_FILL_SHIFT, **by_scalar),
        rounds("squares", y=raw, by_vector=1, y_step=1, y_hop=head, shift=UNIT_SQUARE_SHIFT, reduce=Reduce.SUM, **reduced),
        scalars("1/rms", Sfu.RSQRT),
        rounds("normalise", shift=HEAD_ROOT_SHIFT, **by_scalar),
        rounds("gains", y=builder.place.constant(operation.name), by_vector=1, y_step=1, y_hop=head,
               shift=builder.shifts[operation.name], **made),
    ]
