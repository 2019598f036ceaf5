"""Kernels: functions from an operation of the graph to steps.

A kernel takes the builder and the operation, and returns the steps in the order of the data. `steps_of` finds the kernel by
the operation's kind. The kernels of attention behind the scores (`attention.py`) are no lists of steps, since their cycles
depend on the number of blocks of the KV cache.
"""

from ...model.graph import Kind, Operation
from ..builder import Builder
from ..steps import Step
from . import choice, elementwise, embedding, heads, linear, norm

KERNELS = {
    Kind.NORM: norm.norm,
    Kind.LINEAR: linear.linear,
    Kind.ROTATE: heads.heads,
    Kind.SPLIT: heads.heads,
    Kind.SCORES: heads.scores,
    Kind.ACTIVATE: elementwise.activate,
    Kind.MULTIPLY: elementwise.multiply,
    Kind.QUANTISE: norm.quantise,
    Kind.ADD: lambda builder, operation: [],  # its second operand's matrix adds the first
    Kind.CHOOSE: choice.choose,
}


def steps_of(builder: Builder, operation: Operation) -> list[Step]:
    """The steps of an operation, by its kind's kernel."""
    builder.operation = operation
    return KERNELS[operation.kind](builder, operation)


__all__ = ["KERNELS", "choice", "embedding", "heads", "linear", "norm", "steps_of"]
