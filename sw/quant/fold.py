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
    graph = model.graph
    if not any(operation.function == "layer" for operation in graph.of_kind(Kind.NORM)):
        return model
    for region in (graph.layer, graph.end):
        for operation in region:
            if operation.kind is Kind.NORM and operation.function != "layer":
                raise GraphError(f"{operation.name}: a model with layer norms can have no other norms")
    folding = _Folding(model)
    regions = [tuple(folding.rewritten(operation, region) for operation in region)
               for region in (graph.begin, graph.layer, graph.end)]
    config = replace(model.config, tied=False)
    return Model(config, folding.weights, check(Graph(config, *regions)))


class _Folding:
    """The rewriting of one model; `weights` has what the new graph names."""

    def __init__(self, model: Model):
        self.model, self.graph = model, model.graph
        self.weights: dict[str, np.ndarray] = {}

    def rewritten(self, operation: Operation, region: tuple[Operation, ...]) -> Operation:
        """The operation in the new graph, whose weights it leaves in `weights`."""
        layers = range(self.model.config.n_layers) if region is self.graph.layer else [None]
        match operation.kind:
            case Kind.EMBED | Kind.POSITION:
                (name,) = operation.weights
                self.weights[name] = _centred(self.model[name].T).T
                return operation
            case Kind.NORM:
                return replace(operation, weights=(), bias=(), function="rms")
            case Kind.LINEAR:
                found = [self._linear(operation, region, layer) for layer in layers]
                has_bias = any(bias.any() for _, bias in found)
                for layer, (matrices, bias) in zip(layers, found, strict=True):
                    for name, matrix in zip(operation.weights, matrices, strict=True):
                        self.weights[full_name(name, layer)] = matrix
                    if has_bias:
                        self.weights[full_name(f"{operation.name}_bias", layer)] = bias
                bias = (f"{operation.name}_bias",) if has_bias else ()
                # Logits with a bias have a unit of their own, and so need the scalar of their input.
                return replace(operation, bias=bias, scaled=operation.scaled or (has_bias and region is self.graph.end))
        return operation

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
