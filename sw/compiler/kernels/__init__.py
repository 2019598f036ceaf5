"""Kernels: functions from an operation of the graph to steps.

A kernel takes the builder and the operation, and returns the steps, each after those whose results
it reads. `steps_of` finds the kernel by the operation's kind. SOFTMAX and VALUES have no kernel
here: their cycles depend on the number of blocks of the KV cache, see `attention.py`.
"""

from ...model.graph import Kind, Operation
from ..builder import Builder
from ..steps import Step
from . import choice, elementwise, embedding, head_norm, heads, join, linear, norm

KERNELS = {
    Kind.NORM: norm.norm,
    Kind.LINEAR: linear.linear,
    Kind.HEAD_NORM: head_norm.head_norm,
    Kind.ROTATE: heads.heads,
    Kind.SPLIT: heads.heads,
    Kind.SCORES: heads.scores,
    Kind.ACTIVATE: elementwise.activate,
    Kind.MULTIPLY: elementwise.multiply,
    Kind.QUANTISE: norm.quantise,
    Kind.JOIN: join.join,
    Kind.RESCALE: elementwise.rescale,
    Kind.ADD: lambda builder, operation: [],  # the matrix that makes the second operand adds the first
    Kind.CHOOSE: choice.choose,
}


def steps_of(builder: Builder, operation: Operation) -> list[Step]:
    """The steps of an operation, from the kernel of its kind. KeyError for a kind without one."""
    builder.operation = operation
    return KERNELS[operation.kind](builder, operation)


__all__ = ["KERNELS", "choice", "embedding", "heads", "linear", "norm", "steps_of"]
