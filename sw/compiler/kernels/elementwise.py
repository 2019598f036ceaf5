"""Kernels of operations that compute channel by channel: functions, and products of two vectors."""

from ....hdl.spec.integer import MANTISSA_BITS, RESCALE_SHIFT
from ....hdl.spec.isa import Function, Reduce
from ...model.graph import Kind, Operation
from ..builder import ABSMAX, Builder
from ..steps import Step, best

FUNCTIONS = {"silu": Function.SILU, "gelu": Function.GELU}
"""Functions of the VXM, by the name of an ACTIVATE's function."""


def activate(builder: Builder, operation: Operation) -> list[Step]:
    """Applies the operation's function to the buffer `gate`, in place.

    The pass can use the cycles in which the VXM waits for results of the next product.
    """
    gate = builder.buffer["gate"]
    passes = builder.spread(
        operation.name, _hidden_granules(builder), builder.rate(operation), function=FUNCTIONS[operation.function], x=gate,
        dst=gate, shift=MANTISSA_BITS, **_measured(builder, operation))
    return [best(passes)]


def rescale(builder: Builder, operation: Operation) -> list[Step]:
    """Multiplies the residual by a number of its own in each channel, in place.

    The pass can use the cycles in which the VXM waits for results of the products before the scores.
    """
    x, scores = builder.buffer["x"], next(builder.graph.of_kind(Kind.SCORES))
    return [best(builder.spread("rescale", builder.dim_granules, builder.rate(scores), x=x, dst=x, shift=RESCALE_SHIFT,
                                y=builder.place.constant(operation.name), y_step=1, by_vector=1))]


def multiply(builder: Builder, operation: Operation) -> list[Step]:
    """Multiplies `gate` by `up`, in place.

    Choices: all in one piece, or each result of the product that makes `up` as soon as it is there.
    In a balanced model the QUANTISE that reads the product makes it; see `norm.quantise`.
    """
    if operation.output.groups:
        return []
    count, beats = _hidden_granules(builder), builder.config.beats_per_result
    gate, up, measured = builder.buffer["gate"], builder.buffer["up"], _measured(builder, operation)
    spread = {"inner": beats, "middle": count // beats, "interval": builder.rate(operation)}
    product = {"x": gate, "y": up, "y_step": 1, "by_vector": 1, "dst": gate, "shift": builder.shifts[operation.name],
               **measured}
    return [best([builder.vector_pass("silu(gate) * up", count, **product),
                  builder.vector_pass("silu(gate) * up", count, **product | spread)])]


def _hidden_granules(builder):
    return builder.layout.in_granules(builder.layout.hidden)


def _measured(builder, operation):
    """Operands that find the result's largest magnitude, if a QUANTISE reads the result; else
    none."""
    readers = builder.graph.readers(operation.output.name, builder.graph.layer)
    return {"reduce": Reduce.ABSMAX, "into": ABSMAX} if any(each.kind is Kind.QUANTISE for each in readers) else {}
