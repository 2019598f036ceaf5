"""The outline of a quantised model: what the compiler schedules, without weights.

No cycle depends on a weight. So the outline is enough for a program with all of its instructions, and where only the shape
of a model is known, as from a file's header, an outline of that shape has the cycles of the model.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..model.config import ModelConfig
from ..model.families import graph_of
from ..model.graph import Graph, Kind
from ..model.integer_graph import integer_graph
from ..model.model import Model
from .fold import fold_layer_norms, folded
from .gptq import on_grid
from .model import QuantisedModel
from .quantise import GROUP


def _zeros():
    return defaultdict(int)


@dataclass(frozen=True, kw_only=True)
class Outline:
    """Shape, graph, `groups` and `uniform` (see `QuantisedModel`), and the numbers that instructions hold.

    `shifts`: by operation, those of LINEAR operations included; `rescales`: by LINEAR operation; `epsilon`: a norm's. All
    are 0 where only the shape is known: they change no cycle.
    """

    config: ModelConfig
    graph: Graph
    groups: Mapping[str, int]
    uniform: frozenset[str]
    shifts: Mapping[str, int] = field(default_factory=_zeros)
    rescales: Mapping[str, int] = field(default_factory=_zeros)
    epsilon: int = 1

    @classmethod
    def of(cls, model: QuantisedModel) -> "Outline":
        """The outline of a quantised model."""
        linears = {operation.name: model.linear(operation.name) for operation in model.graph.of_kind(Kind.LINEAR)}
        return cls(config=model.config, graph=model.graph, groups=model.groups, uniform=model.uniform, epsilon=model.epsilon,
                   shifts=dict(model.shifts) | {name: linear.shift for name, linear in linears.items()},
                   rescales={name: linear.rescale for name, linear in linears.items()})


def outline_of_shape(config: ModelConfig, bits: int = 8, group: int = GROUP, model: Model | None = None) -> Outline:
    """The outline of a model of this shape.

    Where weights have 4 `bits` it matters which inputs share a scale, and whether all outputs do: as in a `model` whose
    weights lie on a grid, else in `group`s, as the quantiser makes them. So does whether its norms have gains.
    """
    if model is not None:
        model = fold_layer_norms(model)
    graph = integer_graph(folded(graph_of(config)))
    groups, uniform = _groups(graph, bits, group, model) if bits == 4 else ({}, set())
    # A norm that has been folded has no gains; of a model's own norms all layers must have gains of 1.
    uniform |= {norm.name for norm in graph.of_kind(Kind.NORM)
                if not norm.weights or (model is not None and _without_gains(model, norm))}
    return Outline(config=graph.config, graph=graph, groups=groups, uniform=frozenset(uniform))


def _groups(graph, bits, group, model):
    """Inputs in a group, by LINEAR operation and for "embedding", where there are several; and the names of those that have
    one factor for all outputs."""
    config, groups, uniform = graph.config, {}, set()
    inputs = {operation.name: graph.inputs(operation) for operation in graph.of_kind(Kind.LINEAR)} | {"embedding": config.dim}
    for name, count in inputs.items():
        operation = graph.find(name)
        region = graph.layer if operation in graph.layer else graph.end
        by_head = operation.kind is Kind.LINEAR and graph.producer(operation.inputs[0], region).kind is Kind.VALUES
        tried = [config.head_dim] if by_head else [2 * group, group]
        if name == "embedding" and config.tied:
            size, same = groups.get("classifier", count), "classifier" in uniform
        elif model:
            size, same = _grid(_weights(model, name), bits, [count, *tried])
        else:
            size, same = tried[-1], False
        # Queries and keys have a step for each pair of channels, however uniform their weights' are.
        heads = {reader.kind for reader in graph.readers(operation.output.name, region)} & {Kind.ROTATE, Kind.SPLIT}
        if size < count:
            groups[name] = size
        if same and not heads:
            uniform.add(name)
    return groups, uniform


def _without_gains(model, norm):
    """Whether all gains of a norm of the model are 1."""
    return all((gain == 1).all() for layer in _layers(model, norm.name) for gain in model.of(norm, layer))


def _weights(model, name):
    """The matrices that the quantiser takes together: one a layer, or one in all."""
    operation = model.graph.find(name)
    return [np.concatenate(model.of(operation, layer)) for layer in _layers(model, name)]


def _layers(model, name):
    """The layers that an operation is in, or None for one outside the layers."""
    inside = any(name == each.name for each in model.graph.layer)
    return range(model.config.n_layers) if inside else [None]


def _grid(weights, bits, sizes):
    """The first size of groups in which all weights are on a grid, or else the last; and whether each matrix has one step."""
    for size in sizes:
        found = [on_grid(weight, bits, size) for weight in weights]
        if None not in found:
            return size, all(integers.scale.size == 1 for integers in found)
    return sizes[-1], False
