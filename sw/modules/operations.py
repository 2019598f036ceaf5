"""How operations of ATen are mapped to those of a network.

Every function takes the trace, the node and `get`, which gives what an argument of the node is in the
network; it returns what the node is, a text that says why it cannot be mapped, or None.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch.fx import Node

from ..model.graph import Kind
from . import attending, norms
from .elements import Joined, Parameter, Scaled, Scores, Softmax, Vector
from .tracing import Trace

Found = Vector | Parameter | Scaled | Joined | Scores | Softmax | list | str
Get = Callable[[object], object]
KEPT = {
    "dropout",
    "alias",
    "clone",
    "contiguous",
    "detach",
    "to",
    "_to_copy",
    "identity",
    "feature_dropout",
    "alpha_dropout",
    "lift_fresh_copy",
}
"""Names of operations of ATen that change neither the elements of a tensor nor its shape."""
MOVING = {
    "flatten",
    "unflatten",
    "view",
    "reshape",
    "unsqueeze",
    "squeeze",
    "_unsafe_view",
    "transpose",
    "permute",
    "select",
    "slice",
    "split",
    "split_with_sizes",
    "chunk",
    "tensor_split",
    "unbind",
    "movedim",
    "swapaxes",
    "swapdims",
    "t",
    "numpy_T",
    "mT",
    "expand",
    "expand_as",
    "repeat",
    "repeat_interleave",
    "narrow",
    "flip",
}
"""Those that only move elements, or leave some out."""
SAME_MATRICES = {"view", "reshape", "unsqueeze", "squeeze", "_unsafe_view", "flatten", "unflatten", "expand"}
"""Those that leave the matrices [n, n] of scores as they are, if the last two dimensions stay."""


def _product(trace: Trace, x: object, weight: torch.Tensor, bias: object) -> Found | None:
    """weight @ x + bias, for the lines of x."""
    bias = bias.array if isinstance(bias, Parameter) else bias
    if isinstance(x, Joined):
        return _joined_product(trace, x, weight, bias)
    if not isinstance(x, Vector):
        return None
    lines = x.lines()
    if weight.dim() != 2 or lines is None or weight.shape[1] != len(lines[1]):
        return (
            f"a matrix {list(weight.shape)} reads vectors of {x.size} values: Marey maps matrices that read "
            "whole vectors, [batch, channels]"
        )
    source = trace.selected(x, lines[1])
    if source is None:
        return f"a matrix {list(weight.shape)} reads a part of a vector, which no Linear makes"
    made = trace.write(
        Kind.LINEAR, (source,), weight.shape[0], weight=weight.to(torch.float32).cpu().numpy(), bias=bias
    )
    return x.of_lines(made, weight.shape[0])


def _joined_product(trace, x, weight, bias):
    """The sum of the products of the parts."""
    found, at = None, 0
    for part in x.parts:
        end = at + part.at.shape[-1]
        made = _product(trace, part, weight[:, at:end], bias if at == 0 else None)
        if not isinstance(made, Vector):
            return made
        found = made if found is None else _sum(trace, Kind.ADD, found, made)
        at = end
    return found


def _linear(trace: Trace, node: Node, get: Get) -> Found | None:
    x, weight, bias = (*map(get, node.args), None)[:3]
    known = isinstance(weight, Parameter) and isinstance(bias, Parameter | None)
    return _product(trace, x, weight.values, bias) if known else None


def _matmul(trace: Trace, node: Node, get: Get) -> Found | None:
    x, other = map(get, node.args)
    if isinstance(other, Parameter) and other.values.dim() == 2:
        return _product(trace, x, other.values.T, None)
    if isinstance(x, Softmax) and isinstance(other, Vector):
        return attending.averaged(trace, x, other, node.meta["val"].shape)
    both = isinstance(x, Vector) and isinstance(other, Vector)
    return attending.products(trace, x, other) if both else None


def _addmm(trace: Trace, node: Node, get: Get) -> Found | None:
    bias, x, weight = map(get, node.args)
    if isinstance(weight, Parameter) and isinstance(bias, Parameter) and not node.kwargs:
        return _product(trace, x, weight.values.T, bias)
    return None


def _embedding(trace: Trace, node: Node, get: Get) -> Found | None:
    table, rows = get(node.args[0]), get(node.args[1])
    if not isinstance(table, Parameter) or not isinstance(rows, Vector) or node.args[1].op != "placeholder":
        return None
    if rows.size != 1:
        return (
            f"Embedding works on {list(node.meta['val'].shape)}, and Marey maps operations on whole vectors, "
            "[batch, channels]"
        )
    made, size = (
        trace.write(Kind.EMBED, (rows.name,), table.values.shape[1], weight=table.array),
        table.values.shape[1],
    )
    return Vector(made, size, rows.at[..., None] * size + torch.arange(size))


def _activation(function: str) -> Callable:
    def mapped(trace: Trace, node: Node, get: Get) -> Found | None:
        x, chosen = get(node.args[0]), function
        if function == "gelu" and node.kwargs.get("approximate", "none") == "none":
            chosen = "gelu_erf"
        if not isinstance(x, Vector):
            return None
        return Vector(trace.write(Kind.ACTIVATE, (x.name,), x.size, function=chosen), x.size, x.at)

    return mapped


def _sigmoid(trace: Trace, node: Node, get: Get) -> Found | None:
    x = get(node.args[0])
    return Scaled("sigmoid", x) if isinstance(x, Vector) else None


def _sum(trace, kind, one, other):
    """The sum or the product of two vectors, element by element."""
    one, other = (
        Vector(each.name, each.size, at)
        for each, at in zip((one, other), torch.broadcast_tensors(one.at, other.at), strict=True)
    )
    if one.size != other.size or not torch.equal(one.at, other.at):
        one, other = trace.whole(one), trace.whole(other)
        if not one or not other or one.size != other.size or not torch.equal(one.at, other.at):
            return None
    return Vector(trace.write(kind, (one.name, other.name), one.size), one.size, one.at)


def _add(trace: Trace, node: Node, get: Get) -> Found | None:
    one, other = map(get, node.args)
    if node.kwargs:
        return None
    if isinstance(one, Parameter):
        one, other = other, one
    match one, other:
        case Vector(), Vector():
            return _sum(trace, Kind.ADD, one, other)
        case Scaled(what="mean"), float():
            return Scaled("mean", one.of, one.epsilon + other)
        case Scores(), Parameter():
            return attending.masked(trace, one, other)
        case Vector(), Parameter():
            whole = trace.whole(one)
            table = whole and trace.table(whole, other)
            if table is None:
                return None
            made = trace.biased(whole.name, table[0]) if len(table) == 1 else None
            return Vector(made or trace.placed(whole, table), whole.size, whole.at)
    return None


def _multiply(trace: Trace, node: Node, get: Get) -> Found | None:
    one, other = map(get, node.args)
    if isinstance(one, (Scaled, Parameter, int, float)):
        one, other = other, one
    match one, other:
        case Vector(), Vector():
            return _sum(trace, Kind.MULTIPLY, one, other)
        case Vector(), Scaled(what="sigmoid", of=x) if x.is_same(one):
            return Vector(
                trace.write(Kind.ACTIVATE, (one.name,), one.size, function="silu"), one.size, one.at
            )
        case Vector(), Scaled(what="root", of=x) if x.is_same(one):
            return Vector(trace.norm(one.name, one.size, None, None, other.epsilon), one.size, one.at)
        case Vector(), Parameter():
            whole = trace.whole(one)
            table = whole and trace.table(whole, other)
            made = trace.scaled(whole.name, table[0]) if table is not None and len(table) == 1 else None
            return Vector(made, whole.size, whole.at) if made else None
    return _times(trace, one, other)


def _divide(trace: Trace, node: Node, get: Get) -> Found | None:
    one, other = map(get, node.args)
    return _times(trace, one, 1 / _number(other)) if _number(other) else None


def _number(value):
    """A number, or a tensor of one element, as a float; else None."""
    if isinstance(value, Parameter):
        return float(value.values) if value.values.numel() == 1 else None
    return float(value) if isinstance(value, (int, float)) else None


def _times(trace, x, factor):
    """x times a number."""
    factor = _number(factor)
    if factor is None:
        return None
    if isinstance(x, Scores):
        return x.scaled(factor)
    made = trace.scaled(x.name, np.full(x.size, factor)) if isinstance(x, Vector) else None
    return Vector(made, x.size, x.at) if made else None


def _join(trace: Trace, node: Node, get: Get) -> Found | None:
    parts = [get(each) for each in node.args[0]]
    last = (*node.args, 0)[1] in (-1, node.meta["val"].dim() - 1)
    return Joined(tuple(parts)) if last and all(isinstance(each, Vector) for each in parts) else None


OPERATIONS = {
    "linear": _linear,
    "matmul": _matmul,
    "mm": _matmul,
    "bmm": _matmul,
    "addmm": _addmm,
    "embedding": _embedding,
    "layer_norm": norms.layer_norm,
    "rms_norm": norms.rms_norm,
    "relu": _activation("relu"),
    "silu": _activation("silu"),
    "gelu": _activation("gelu"),
    "sigmoid": _sigmoid,
    "pow": norms.square,
    "square": norms.square,
    "mean": norms.mean,
    "rsqrt": norms.rsqrt,
    "add": _add,
    "mul": _multiply,
    "div": _divide,
    "cat": _join,
    "masked_fill": attending.masked_fill,
    "where": attending.where,
    "baddbmm": attending.baddbmm,
    "scaled_dot_product_attention": attending.scaled_dot_product_attention,
    **dict.fromkeys(attending.SOFTMAX, attending.softmax),
}
"""How an operation of ATen is mapped, by its name."""
