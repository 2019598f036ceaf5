"""The outline of a quantised model: all that the compiler needs to know to write instructions,
without weights.

No cycle depends on a weight, so the cycles of a model are known from its outline. Where only a
model's shape is known, as from a file's header, `outline_of_shape` gives an outline with the cycles
that the model will have.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..model.config import ModelConfig
from ..model.families import graph_of
from ..model.graph import Graph, Kind
from ..model.integer_graph import JOINED, WEIGHT_GROUP, integer_graph, may_have_offsets
from ..model.model import Model
from .fold import fold_layer_norms, folded, untied_graph
from .gains import gains_in_matrices, grid_of, weights_of, without_gains
from .model import QuantisedModel
from .quantise import GROUP
from .static import may_be_gated


def _zeros():
    return defaultdict(int)


@dataclass(frozen=True, kw_only=True)
class Outline:
    """The outline of a quantised model.

    `config`, `graph`, `groups`, `uniform`, `cache_bits`: as in `QuantisedModel`. `shifts`: bits, by operation,
    including the shifts of LINEAR operations. `rescales`, `first_shifts`: bits, by LINEAR operation.
    `epsilon`: of norms. If only the shape is known, shifts and rescales are 0: they change no cycle.

    `balanced`: as in `QuantisedModel`. A shape does not tell whether the residual will be balanced,
    which costs some cycles a norm; if only the shape is known, it is not.
    """

    config: ModelConfig
    graph: Graph
    groups: Mapping[str, int]
    uniform: frozenset[str]
    shifts: Mapping[str, int] = field(default_factory=_zeros)
    rescales: Mapping[str, int] = field(default_factory=_zeros)
    first_shifts: Mapping[str, int] = field(default_factory=_zeros)
    epsilon: int = 1
    balanced: bool = False
    cache_bits: int = 8

    @property
    def offsets(self) -> bool:
        """Whether weights have offsets, see `QuantisedModel.offsets`."""
        return any(self.graph.of_kind(Kind.JOIN))

    @classmethod
    def of(cls, model: QuantisedModel) -> "Outline":
        """The outline of a quantised model."""
        linears = {operation.name: model.linear(operation.name) for operation in model.graph.of_kind(Kind.LINEAR)}
        return cls(config=model.config, graph=model.graph, groups=model.groups, uniform=model.uniform, epsilon=model.epsilon,
                   balanced=model.balanced, cache_bits=model.cache_bits,
                   shifts=dict(model.shifts) | {name: linear.shift for name, linear in linears.items()} | {
                       f"{name} offsets": linear.offset_shift for name, linear in linears.items() if linear.offset_groups},
                   rescales={name: linear.rescale for name, linear in linears.items()},
                   first_shifts={name: linear.first_shift or 0 for name, linear in linears.items()})


def outline_of_shape(config: ModelConfig, bits: int = 8, group: int = GROUP, model: Model | None = None,
                     pipelined: bool = False, apart: bool = True, cache_bits: int = 8, static: bool = False) -> Outline:
    """The outline that a model of this shape will have after quantisation.

    `bits`: of a weight, 8 or 4. `group`: inputs that share a scale if `bits` is 4. `pipelined`, `static`: see
    `integer_graph`. `apart`, `cache_bits`: see `quantise`. `model`: the
    model with its weights, if they are known. They decide, for 4 bits, which matrices lie on a grid
    of their own and so have larger groups or one scale, and which norms have no gains. Without a
    model, no matrix is taken to lie on a grid, and each norm to have gains that keeps them (`_norm` in
    `quantise.py`).
    """
    if model is not None:
        model = fold_layer_norms(model)
    graph = folded(graph_of(config))
    graph = integer_graph(untied_graph(graph) if pipelined and apart else graph, pipelined=pipelined, static=static,
                          gated=static and model is not None and may_be_gated(model, bits))
    groups, uniform = _groups(graph, bits, group, model) if bits == 4 else ({}, set())
    uniform |= {norm.name for norm in graph.of_kind(Kind.NORM)
                if not norm.weights or gains_in_matrices(graph, norm, bits, group, model)
                or (model is not None and without_gains(model, norm))}
    return Outline(config=graph.config, graph=graph, groups=groups, uniform=frozenset(uniform),
                   cache_bits=cache_bits)


def outline_with_offsets(config: ModelConfig) -> Outline | None:
    """The outline that a model of this shape will have after quantisation in 4 bits if its residual will be balanced, so
    that weights have offsets; None if a model of this shape cannot have them."""
    graph = folded(graph_of(config))
    if not may_have_offsets(graph):
        return None
    graph = integer_graph(untied_graph(graph), True, True)
    made = {operation.output.name: operation.output for operation in graph.operations}
    inputs = {operation.name: made[operation.inputs[0]] for operation in graph.of_kind(Kind.LINEAR)}
    joined = {name for name, value in inputs.items() if value.name.endswith(JOINED)}
    groups = {name: WEIGHT_GROUP if name in joined else value.size // value.groups for name, value in inputs.items()
              if name in joined or value.groups > 1}
    uniform = frozenset(name for name, value in inputs.items() if not value.groups and name not in joined)
    # The low half of an embedding's row is shifted by as many bits as the high one, and 4 more.
    return Outline(config=graph.config, graph=graph, groups=groups, uniform=uniform, balanced=True,
                   shifts=defaultdict(int, embedding=4))


def _groups(graph, bits, group, model):
    """({name: inputs in a group}, names with one factor for all outputs), as in
    `QuantisedModel`."""
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
            size, same = grid_of(weights_of(model, name), bits, [count, *tried]) or (tried[-1], False)
        else:
            size, same = tried[-1], False
        # Queries and keys have a step for each pair of channels, even if their weights have one scale.
        readers = {reader.kind for reader in graph.readers(operation.output.name, region)}
        heads = readers & {Kind.HEAD_NORM, Kind.ROTATE, Kind.SPLIT}
        if size < count:
            groups[name] = size
        if same and not heads and not operation.gated:
            uniform.add(name)
    return groups, uniform
