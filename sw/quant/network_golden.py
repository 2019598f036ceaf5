"""The golden integer model of a network: it defines every result of the tile."""

import numpy as np

from ...hdl.spec import integer
from ...hdl.spec.integer import round_shift, saturate
from ..model.graph import Kind, Number
from ..model.network import POSITION
from ..model.network_reference import sequences_of
from .golden import linear
from .network import QuantisedNetwork
from .network_attention import exponentials


def relu(x: np.ndarray) -> np.ndarray:
    """max(x, -1) of int16 values.

    The tile has no maximum, but it saturates: x - 32767 is -32768 for all x below 0, and adding
    32767 gives -1.
    """
    return np.maximum(x, -1)


FUNCTIONS = {"relu": relu, "silu": integer.silu, "gelu": integer.gelu, "gelu_erf": integer.gelu}
"""Functions of an ACTIVATE, by name."""


def golden(model: QuantisedNetwork, x: np.ndarray) -> np.ndarray:
    """The result of a network: int64 [batch, channels] of int16 values, or with attention
    [batch, n, channels]. `x`: integers, as `model.integers` makes them."""
    network, every = model.network, sequences_of(model.network, x)
    wide = network.source.number is Number.WIDE
    rows = x.reshape(every.batch * every.length, -1) if wide else x.reshape(-1)
    values = {network.source.name: rows, POSITION: np.tile(np.arange(every.length), every.batch)}
    steps, part_of = {}, {each.name: scores.name for scores, *more in network.attentions()
                          for each in (scores, *more)}
    for operation in network.operations:
        name, inputs = operation.name, [values[each] for each in operation.inputs]
        match operation.kind:
            case Kind.EMBED:
                made = model.vectors[name][inputs[0]].astype(np.int64)
            case Kind.QUANTISE:
                made, steps[operation.output.name] = integer.quantise(inputs[0])
            case Kind.LINEAR:
                bias = model.linears[name].bias
                made = linear(model.linears[name], inputs[0], steps[operation.inputs[0]],
                              0 if bias is None else bias.astype(np.int64))
            case Kind.NORM:
                gains = model.vectors[name].astype(np.int64)
                made = saturate(round_shift(integer.normalised(inputs[0]) * gains, model.shifts[name]), 16)
                if operation.bias:
                    made = saturate(made + model.vectors[operation.bias[0]], 16)
            case Kind.ACTIVATE:
                made = FUNCTIONS[operation.function](inputs[0])
            case Kind.ADD:
                made = saturate(inputs[0] + inputs[1], 16)
            case Kind.MULTIPLY:
                made = saturate(round_shift(inputs[0] * inputs[1], model.shifts[name]), 16)
            case Kind.SCORES:
                made = model.attentions[name].scored(*inputs, every)
            case Kind.SOFTMAX:
                made = exponentials(*inputs, every)
            case Kind.VALUES:
                made = model.attentions[part_of[name]].averaged(*inputs, every)
        values[operation.output.name] = made
    made = values[network.result.name]
    return made.reshape(every.batch, every.length, -1) if network.positions else made
