"""The float reference of a feed-forward network."""

import math
from collections.abc import Callable

import numpy as np

from .graph import Kind
from .network import Weights
from .reference import ACTIVATIONS

ERF = np.vectorize(math.erf, otypes=[np.float64])
FUNCTIONS = ACTIVATIONS | {
    "relu": lambda x: np.maximum(x, 0), "gelu_erf": lambda x: x * (1 + ERF(x / math.sqrt(2))) / 2}
"""Functions of an ACTIVATE, by name."""


def run(
    model: Weights, x: np.ndarray, observe: Callable[[str, np.ndarray], None] = lambda name, value: None
) -> np.ndarray:
    """The result of a network, float64 [batch, channels].

    `x`: its input: float [batch, channels], or row numbers, int [batch]. `observe`: gets each value
    with its name, the input included.
    """
    network = model.network
    values = {network.source.name: x if x.ndim == 1 else x.astype(np.float64)}
    observe(network.source.name, x)
    for operation in network.operations:
        inputs = [values[name] for name in operation.inputs]
        weight, bias = model.of(operation), model.bias(operation)
        match operation.kind:
            case Kind.EMBED:
                made = weight[inputs[0]].astype(np.float64)
            case Kind.LINEAR:
                made = inputs[0] @ weight.T.astype(np.float64)
            case Kind.NORM:
                made = inputs[0] / np.sqrt(
                    np.mean(inputs[0] ** 2, axis=-1, keepdims=True) + network.epsilon[operation.name]
                )
                made = made if weight is None else made * weight
            case Kind.ACTIVATE:
                made = FUNCTIONS[operation.function](inputs[0])
            case Kind.ADD:
                made = inputs[0] + inputs[1]
            case Kind.MULTIPLY:
                made = inputs[0] * inputs[1]
        values[operation.output.name] = made if bias is None else made + bias
        observe(operation.output.name, values[operation.output.name])
    return values[network.result.name]
