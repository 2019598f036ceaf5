"""The kernel of a JOIN: the sums of the groups of a product's inputs, in 8 bits, behind these inputs.

They stand there twice, for the two columns of 4 bits of each offset; see `marey.sw.quant.affine`. Sums of inputs that
have scalars are brought to int8 like any vector, with a scalar of their own. Sums of attention's output, which has none,
come from their product in 8 bits.
"""

from ....hdl.spec.isa import Address, Reduce
from ...model.graph import Kind, Operation
from ..builder import REDUCED, Builder
from ..steps import Step, step
from .int8 import Int8


def sums_place(builder: Builder, operation: Operation) -> tuple[Address | int, dict]:
    """(the granule at which a LINEAR's sums of groups go, operands of the VXM that takes the last of them)."""
    source = builder.layout.source(operation)
    if source is Kind.VALUES:
        return _behind(builder, source), {"narrow": 1}
    groups = builder.layout.input_groups(operation)
    return builder.buffer["sums"], {"reduce": Reduce.ABSMAX, "into": REDUCED + 2 * builder.fillings + groups}


def sums_step(builder: Builder, operation: Operation) -> int:
    """The register of the scalar of the sums that a JOIN puts behind its first input."""
    return builder.group_steps + 2 * (operation.output.groups - 1) + 1


def join(builder: Builder, operation: Operation) -> list[Step]:
    """Writes the sums behind the inputs, twice."""
    (made,) = (each for each in builder.graph.layer if each.output.name == operation.inputs[1])
    source = builder.layout.source(made)
    first, count = _behind(builder, source), builder.layout.in_granules(builder.layout.sums(source))
    if source is Kind.VALUES:
        return [step(builder.vector_pass("sums: again", count, x=first, dst=first + count, narrow=1))]
    groups, begin = operation.output.groups - 1, first - builder.buffer["input"]
    ways = [Int8(builder, "sums", builder.buffer["sums"], count, REDUCED + 2 * builder.fillings + groups,
                 builder.group_steps + 2 * groups, at) for at in (begin, begin + count)]
    return [ways[0].scale(), *(way.values() for way in ways)]


def _behind(builder, source):
    """The granule behind a product's inputs, where the sums begin."""
    buffer = builder.buffer["o" if source is Kind.VALUES else "input"]
    return buffer + builder.layout.in_granules(builder.layout.vector(source))
