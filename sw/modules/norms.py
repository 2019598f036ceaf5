"""How norms are found among the operations of `torch.export`: as one operation of PyTorch, or as a
square, a mean, a root and a product. For arguments and results see `attending`.
"""

import numpy as np
import torch
from torch.fx import Node

from .elements import Scaled, Vector
from .tracing import Trace

OF_WHOLE = "norms of a part of a vector cannot be mapped"


def _whole_lines(trace, x, shape):
    """(the value, its size), if x's lines are whole values of this shape; else None."""
    lines = x.lines()
    if lines is None or list(shape) != [len(lines[1])]:
        return None
    name = trace.selected(x, lines[1])
    return name and (name, len(lines[1]))


def layer_norm(trace: Trace, node: Node, get) -> Vector | Scaled | str | None:
    defaults = (None, None, 1e-5)
    x, shape, gain, bias, epsilon = map(get, (*node.args, *defaults[len(node.args) - 2 :])[:5])
    if not isinstance(x, Vector):
        return None
    if not (found := _whole_lines(trace, x, shape)):
        return OF_WHOLE
    name, size = found
    made = trace.norm(trace.centred(name, size), size, gain and gain.array, bias and bias.array, epsilon)
    return x.of_lines(made, size)


def rms_norm(trace: Trace, node: Node, get) -> Vector | Scaled | str | None:
    x, shape, gain, epsilon = (*map(get, node.args), None, None)[:4]
    if not isinstance(x, Vector):
        return None
    if not (found := _whole_lines(trace, x, shape)):
        return OF_WHOLE
    epsilon = torch.finfo(torch.float32).eps if epsilon is None else epsilon
    return x.of_lines(trace.norm(*found, gain and gain.array, None, epsilon), found[1])


def square(trace: Trace, node: Node, get) -> Vector | Scaled | str | None:
    x, power = get(node.args[0]), (*node.args, 2)[1]
    return Scaled("square", x) if isinstance(x, Vector) and power == 2 else None


def mean(trace: Trace, node: Node, get) -> Vector | Scaled | str | None:
    x = get(node.args[0])
    last = list(node.args[1]) in ([-1], [node.meta["val"].dim() - 1]) and len(node.args) > 2 and node.args[2]
    if not (isinstance(x, Scaled) and x.what == "square" and last):
        return None
    lines = x.of.lines()
    return Scaled("mean", x.of) if lines and np.array_equal(lines[1], np.arange(x.of.size)) else OF_WHOLE


def rsqrt(trace: Trace, node: Node, get) -> Vector | Scaled | str | None:
    x = get(node.args[0])
    return Scaled("root", x.of, x.epsilon) if isinstance(x, Scaled) and x.what == "mean" else None
