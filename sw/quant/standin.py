"""A model without weights: what is scheduled depends on no value of them, and so do the cycles of a token."""

import numpy as np

from ..model.config import ModelConfig
from ..model.families import graph_of
from ..model.graph import Kind
from ..model.model import Model, full_name
from .gptq import on_grid
from .model import Linear, QuantisedModel
from .quantise import GROUP, integer_graph


def stand_in(config: ModelConfig, bits: int = 8, group: int = GROUP, model: Model | None = None) -> QuantisedModel:
    """A model of this shape without weights.

    Where weights have 4 `bits` it matters which inputs share a scale, and whether all outputs do: as in a `model` whose weights
    lie on a grid, else in `group`s, as the quantiser makes them. So does whether its norms have gains.
    """
    graph = integer_graph(graph_of(config))
    inputs = {operation.name: graph.inputs(operation) for operation in graph.of_kind(Kind.LINEAR)} | {"embedding": config.dim}
    sizes, factors = {}, {}
    for name, count in inputs.items():
        tried, uniform = [config.head_dim] if name == "wo" else [2 * group, group], False
        if bits == 8:
            sizes[name] = count
        elif name == "embedding" and config.tied:
            sizes[name], uniform = sizes["classifier"], factors["classifier"].size == 1
        elif model:
            sizes[name], uniform = _grid(_weights(model, name), bits, [count, *tried])
        else:
            sizes[name] = tried[-1]
        # A step of queries and keys is one of a pair of channels, however uniform the weights'.
        factors[name] = np.zeros((-(-count // sizes[name]), int(uniform and name != "qk")), np.int16)

    nothing = np.zeros(0, np.int8)
    vectors = {norm.name: np.zeros(int(_without_gains(model, norm)), np.int16) for norm in graph.of_kind(Kind.NORM)}
    return QuantisedModel(
        config=config, graph=graph, bits=bits, embedding=nothing, embedding_factor=factors["embedding"],
        embedding_group=sizes["embedding"], residual_unit=0, epsilon=1, vectors=vectors, logit_unit=1.0,
        shifts={operation.name: 0 for operation in graph.operations},
        linears={full_name(each.name, 0 if each in graph.layer else None):
                 Linear(nothing, factors[each.name], 0, sizes[each.name]) for each in graph.of_kind(Kind.LINEAR)})


def _without_gains(model, norm):
    """Whether all gains of a norm of the model, if there is one, are 1."""
    return model is not None and all((gain == 1).all() for layer in _layers(model, norm) for gain in model.of(norm, layer))


def _weights(model, name):
    """The matrices that the quantiser takes together: one a layer, or one in all."""
    operation = model.graph.find(name)
    return [np.concatenate(model.of(operation, layer)) for layer in _layers(model, operation)]


def _layers(model, operation):
    """The layers that an operation is in, or None for one outside the layers."""
    inside = any(operation.name == each.name for each in model.graph.layer)
    return range(model.config.n_layers) if inside else [None]


def _grid(weights, bits, sizes):
    """The first size of groups in which all weights are on a grid, or else the last; and whether each matrix has one step."""
    for size in sizes:
        found = [on_grid(weight, bits, size) for weight in weights]
        if None not in found:
            return size, all(integers.scale.size == 1 for integers in found)
    return sizes[-1], False
