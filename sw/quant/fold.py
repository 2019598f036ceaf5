"""Folding: rewrites a model with layer norms into an equal one that has root-mean-square norms without gains.

A layer norm subtracts the mean of its input. If only layer norms and sums read the residual, the
mean can be subtracted earlier, from whatever is written to the residual: tables and matrices are
centred over their outputs, once, when the model is quantised. A norm's gains go into the columns of
the matrices that read it, its bias into their biases (SliceGPT, Ashkboos et al., 2024, arXiv
2401.15024, section 3, folds in the same way).

Two more biases disappear:

- The bias of the values: the weights of a softmax have the sum 1, so the bias passes attention
  unchanged. It is multiplied by the matrix behind attention and added to that matrix's bias.
- The bias of the keys, if no rotation follows: it adds the same number to all scores of a query,
  and the softmax does not depend on it.
"""

from dataclasses import replace

import numpy as np

from ..model.graph import Graph, GraphError, Kind, Operation, check
from ..model.model import Model, full_name


def fold_layer_norms(model: Model) -> Model:
    """An equal model without layer norms, or `model` itself if it has none.

    The folded model is not tied, since the final norm's gains are in its classifier. GraphError if
    anything but layer norms and sums reads the residual.
    """
    graph = folded(model.graph)
    return model if graph is model.graph else Model(graph.config, _Folding(model, graph).weights, graph)


def folded(graph: Graph) -> Graph:
    """The graph of the folded model, or `graph` itself if it has no layer norms.

    It does not depend on weights: a matrix has a bias even if the bias is 0. GraphError as for
    `fold_layer_norms`.
    """
    norms = {operation.function for operation in graph.of_kind(Kind.NORM)}
    if "layer" not in norms:
        return graph
    _check_readers(graph)
    regions = [tuple(_without_layer_norm(graph, operation, region) for operation in region)
               for region in (graph.begin, graph.layer, graph.end)]
    return check(Graph(replace(graph.config, tied=False), *regions))


def untied(model: Model) -> Model:
    """An equal model whose classifier is a matrix of its own, with logits that are multiplied by the
    scalar of their input."""
    return Model(replace(model.config, tied=False), model.weights, untied_graph(model.graph))


def untied_graph(graph: Graph) -> Graph:
    """The graph of the model that `untied` makes."""
    end = tuple(replace(operation, scaled=True) if operation.kind is Kind.LINEAR else operation for operation in graph.end)
    return check(Graph(replace(graph.config, tied=False), graph.begin, graph.layer, end))


def _check_readers(graph: Graph) -> None:
    """GraphError if a norm is no layer norm, or if another operation needs the mean of the
    residual."""
    residual = {operation.output.name for operation in graph.of_kind(Kind.EMBED, Kind.POSITION, Kind.ADD)}
    for operation in graph.operations:
        if operation.kind is Kind.NORM and operation.function != "layer":
            raise GraphError(f"{operation.name}: in a model with layer norms, all norms must be layer norms")
        if operation.kind not in (Kind.POSITION, Kind.NORM, Kind.ADD) and residual.intersection(operation.inputs):
            raise GraphError(f"{operation.name}: only layer norms and sums may read the residual")


def _without_layer_norm(graph: Graph, operation: Operation, region: tuple[Operation, ...]) -> Operation:
    """The operation as it is in the folded graph: a norm without weights, or a matrix with a bias
    of its own.

    The matrix that makes values has none.
    """
    if operation.kind is Kind.NORM:
        return replace(operation, weights=(), bias=(), function="rms")
    if operation.kind is not Kind.LINEAR:
        return operation
    values = any(reader.kind is Kind.VALUES for reader in graph.readers(operation.output.name, region))
    # A bias can only be added to logits that have been multiplied by the scalar of their input.
    return replace(operation, bias=() if values else (f"{operation.name}_bias",),
                   scaled=operation.scaled or region is graph.end)


class _Folding:
    """The rewriting of one model's weights. `weights`: those of the folded graph, by full name."""

    def __init__(self, model: Model, graph: Graph):
        self.model, self.graph = model, model.graph
        self.weights: dict[str, np.ndarray] = {}
        for region, new in ((self.graph.begin, graph.begin), (self.graph.layer, graph.layer), (self.graph.end, graph.end)):
            for operation, target in zip(region, new, strict=True):
                self._fold(operation, target, region)

    def _fold(self, operation, target, region):
        """Adds the folded weights of an operation, in every layer, to `weights`.

        `target`: the operation in the folded graph.
        """
        if operation.kind in (Kind.EMBED, Kind.POSITION):
            (name,) = operation.weights
            self.weights[name] = _centred(self.model[name].T).T
        if operation.kind is not Kind.LINEAR:
            return
        for layer in range(self.model.config.n_layers) if region is self.graph.layer else [None]:
            matrices, bias = self._linear(operation, region, layer)
            named = zip((*target.weights, *target.bias), (*matrices, bias), strict=bool(target.bias))
            self.weights |= {full_name(name, layer): value for name, value in named}

    def _linear(self, operation, region, layer):
        """The folded matrices and the folded bias of a LINEAR in one layer, float32."""
        graph, config = self.graph, self.model.config
        matrices = self.model.of(operation, layer)
        matrix, bias = self._behind_norm(operation, region, layer)
        source = graph.producer(operation.inputs[0], region)
        if source.kind is Kind.VALUES:
            _, of_values = self._behind_norm(graph.producer(source.inputs[1], region), region, layer)
            group = config.n_heads // config.n_kv_heads
            bias = bias + matrix @ of_values.reshape(config.n_kv_heads, -1).repeat(group, axis=0).ravel()
        readers = [reader.kind for reader in graph.readers(operation.output.name, region)]
        if Kind.VALUES in readers:
            bias = np.zeros_like(bias)
        if Kind.SCORES in readers:
            bias[config.dim:] = 0
        if Kind.ADD in readers:
            matrix, bias = _centred(matrix), bias - bias.mean()
        ends = np.cumsum([len(each) for each in matrices])[:-1]
        return np.split(matrix.astype(np.float32), ends), bias.astype(np.float32)

    def _behind_norm(self, operation, region, layer):
        """Matrix and bias of a LINEAR, float64; if it reads a norm, with the norm's gains and bias
        folded in."""
        matrix, bias = np.concatenate(self.model.of(operation, layer)).astype(np.float64), self.model.bias(operation, layer)
        bias = np.zeros(len(matrix)) if bias is None else bias.astype(np.float64)
        source = self.graph.producer(operation.inputs[0], region)
        if source.kind is not Kind.NORM:
            return matrix, bias
        (gain,), shift = self.model.of(source, layer), self.model.bias(source, layer)
        return matrix * gain, bias + (0 if shift is None else matrix @ shift)


def _centred(matrix):
    """The matrix minus the mean of its rows: its outputs then have the mean 0 for every input."""
    return (matrix - matrix.mean(axis=0, keepdims=True, dtype=np.float64)).astype(matrix.dtype)
