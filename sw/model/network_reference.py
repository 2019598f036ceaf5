"""The float reference of a network."""

import math
from collections.abc import Callable

import numpy as np

from .graph import Kind
from .network import POSITION, Network, Weights
from .reference import ACTIVATIONS
from .sequences import Sequences

ERF = np.vectorize(math.erf, otypes=[np.float64])
FUNCTIONS = ACTIVATIONS | {
    "relu": lambda x: np.maximum(x, 0), "gelu_erf": lambda x: x * (1 + ERF(x / math.sqrt(2))) / 2}
"""Functions of an ACTIVATE, by name."""


def sequences_of(network: Network, x: np.ndarray) -> Sequences:
    """The sequences of an input (see `run`). ValueError for one that is longer than the network's."""
    if network.positions and x.shape[1] > network.positions:
        raise ValueError(f"sequences of {x.shape[1]}, and the network has {network.positions} positions")
    return Sequences(len(x), x.shape[1] if network.positions else 1)


def run(
    model: Weights, x: np.ndarray, observe: Callable[[str, np.ndarray], None] = lambda name, value: None
) -> np.ndarray:
    """The result of a network, float64 [batch, channels].

    `x`: its input: float [batch, channels], or row numbers, int [batch]. With attention: float
    [batch, n, channels], or int [batch, n], and so the result is [batch, n, channels]. `observe`:
    gets each value with its name, the input included; values are [rows, channels], sequence by
    sequence.
    """
    network, every = model.network, sequences_of(model.network, x)
    index = not np.issubdtype(x.dtype, np.floating)
    rows = x.reshape(-1) if index else x.reshape(every.batch * every.length, -1).astype(np.float64)
    values = {network.source.name: rows, POSITION: np.tile(np.arange(every.length), every.batch)}
    observe(network.source.name, rows)
    for operation in network.operations:
        inputs = [values[name] for name in operation.inputs]
        made = _made(model, operation, every, inputs)
        bias = model.bias(operation)
        values[operation.output.name] = made if bias is None else made + bias
        observe(operation.output.name, values[operation.output.name])
    made = values[network.result.name]
    return made.reshape(every.batch, every.length, -1) if network.positions else made


def _made(model, operation, every, inputs):
    """The result of an operation without its bias, [rows, channels]; of SCORES and SOFTMAX,
    [batch, heads, n, n]."""
    network, weight = model.network, model.of(operation)
    match operation.kind:
        case Kind.EMBED:
            return weight[inputs[0]].astype(np.float64)
        case Kind.LINEAR:
            return inputs[0] @ weight.T.astype(np.float64)
        case Kind.NORM:
            squares = np.mean(inputs[0] ** 2, axis=-1, keepdims=True)
            made = inputs[0] / np.sqrt(squares + network.epsilon[operation.name])
            return made if weight is None else made * weight
        case Kind.ACTIVATE:
            return FUNCTIONS[operation.function](inputs[0])
        case Kind.ADD:
            return inputs[0] + inputs[1]
        case Kind.MULTIPLY:
            return inputs[0] * inputs[1]
        case Kind.SCORES:
            q, k = (every.by_head(each, operation.output.heads) for each in inputs)
            return np.where(every.seen, q @ k.swapaxes(-1, -2) * network.scale[operation.name], -np.inf)
        case Kind.SOFTMAX:
            powers = np.exp(inputs[0] - inputs[0].max(axis=-1, keepdims=True))
            return powers / powers.sum(axis=-1, keepdims=True)
        case Kind.VALUES:
            return every.by_row(inputs[0] @ every.by_head(inputs[1], inputs[0].shape[1]))
    raise AssertionError(operation)
