"""Folding: rewrites a model with layer norms into an equal one that has root-mean-square norms without gains.

A layer norm subtracts the mean of its input. Where every reader of the residual is a layer norm, the mean can be
subtracted earlier, from whatever is written to the residual: tables and matrices are centred over their outputs, once,
when the model is quantised. Gains go into the columns of the matrices that follow, biases into their biases (SliceGPT,
Ashkboos et al., 2024, arXiv 2401.15024, section 3, folds in the same way). Two more biases go for nothing: that of values,
because the weights of a softmax have the sum 1, into the bias of the matrix behind attention; and that of keys, where no
rotation follows, because it adds the same to all scores of a query.
"""

from dataclasses import replace

import numpy as np

from ..model.graph import Graph, GraphError, Kind, Operation, check
from ..model.model import Model, full_name


def fold_layer_norms(model: Model) -> Model:
    """The same model without layer norms; the model itself if it has none. Its classifier is a matrix of its own.

    GraphError for a model whose residual is read by something else than layer norms and sums.
    """
    graph = folded(model.graph)
    return model if graph is model.graph else Model(graph.config, _Folding(model, graph).weights, graph)


def folded(graph: Graph) -> Graph:
    """The graph without layer norms; the graph itself if it has none. Which matrices have a bias depends on it alone.

    GraphError as of `fold_layer_norms`.
    """
    norms = {operation.function for operation in graph.of_kind(Kind.NORM)}
    if "layer" not in norms:
        return graph
    _check_readers(graph)
    regions = [tuple(_without_layer_norm(graph, operation, region) for operation in region)
               for region in (graph.begin, graph.layer, graph.end)]
    return check(Graph(replace(graph.config, tied=False), *regions))


def _check_readers(graph: Graph) -> None:
    """GraphError if a norm keeps the mean of the residual, or another operation would miss the mean."""
    residual = {operation.output.name for operation in graph.of_kind(Kind.EMBED, Kind.POSITION, Kind.ADD)}
    for operation in graph.operations:
        if operation.kind is Kind.NORM and operation.function != "layer":
            raise GraphError(f"{operation.name}: a model with layer norms can have no other norms")
        if operation.kind not in (Kind.POSITION, Kind.NORM, Kind.ADD) and residual.intersection(operation.inputs):
            raise GraphError(f"{operation.name}: reads the residual itself, and beside layer norms only sums can")


def _without_layer_norm(graph: Graph, operation: Operation, region: tuple[Operation, ...]) -> Operation:
    """The operation in the folded graph: a norm without weights, or a matrix with one bias, unless that goes for nothing."""
    if operation.kind is Kind.NORM:
        return replace(operation, weights=(), bias=(), function="rms")
    if operation.kind is not Kind.LINEAR:
        return operation
    values = any(reader.kind is Kind.VALUES for reader in graph.readers(operation.output.name, region))
    # Logits with a bias have a unit of their own, and so need the scalar of their input.
    return replace(operation, bias=() if values else (f"{operation.name}_bias",),
                   scaled=operation.scaled or region is graph.end)


class _Folding:
    """The rewriting of one model's weights; `weights` has what the folded graph names."""

    def __init__(self, model: Model, graph: Graph):
        self.model, self.graph = model, model.graph
        self.weights: dict[str, np.ndarray] = {}
        for region, new in ((self.graph.begin, graph.begin), (self.graph.layer, graph.layer), (self.graph.end, graph.end)):
            for operation, target in zip(region, new, strict=True):
                self._fold(operation, target, region)

    def _fold(self, operation, target, region):
        """Leaves the weights of an operation as the folded graph has them, in every layer."""
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
        """Matrices and bias of a LINEAR, of one layer."""
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
        """Matrix and bias of a LINEAR, float64, with the gains and the bias of the norm in front of it, if there is one."""
        matrix, bias = np.concatenate(self.model.of(operation, layer)).astype(np.float64), self.model.bias(operation, layer)
        bias = np.zeros(len(matrix)) if bias is None else bias.astype(np.float64)
        source = self.graph.producer(operation.inputs[0], region)
        if source.kind is not Kind.NORM:
            return matrix, bias
        (gain,), shift = self.model.of(source, layer), self.model.bias(source, layer)
        return matrix * gain, bias + (0 if shift is None else matrix @ shift)


def _centred(matrix):
    """A matrix whose outputs have the mean 0, whatever the input."""
    return (matrix - matrix.mean(axis=0, keepdims=True, dtype=np.float64)).astype(matrix.dtype)
