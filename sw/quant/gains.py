"""Where the gains of norms go, and the grids on which the weights of a model lie."""

import numpy as np

from ..model.graph import Graph, Operation
from ..model.model import Model
from .gptq import on_grid


def gains_in_matrices(graph: Graph, norm: Operation, bits: int, group: int, model: Model | None) -> bool:
    """Whether the gains of a norm go into the columns of the matrices that read it.

    They may if these are scaled; else a matrix may be the embedding, too. With 4 bits they do if the weights of the model
    are known and lie on no grid, which gains would leave. Arguments as for `outline.outline_of_shape`.
    """
    readers = [reader.name for region in (graph.layer, graph.end) if norm in region
               for reader in graph.readers(norm.output.name, region)]
    if not all(graph.find(name).scaled for name in readers):
        return False
    return bits == 8 or (model is not None and not any(
        grid_of(weights_of(model, name), bits, [graph.config.dim, 2 * group, group]) for name in readers))


def without_gains(model: Model, norm: Operation) -> bool:
    """Whether all gains of a norm of the model are 1."""
    return all((gain == 1).all() for layer in _layers(model, norm.name) for gain in model.of(norm, layer))


def weights_of(model: Model, name: str) -> list[np.ndarray]:
    """The matrices [N outputs, K inputs] of an operation, one for each layer, or one if it is outside the layers."""
    operation = model.graph.find(name)
    return [np.concatenate(model.of(operation, layer)) for layer in _layers(model, name)]


def _layers(model, name):
    """Numbers of the layers that an operation is in; [None] for an operation outside the layers."""
    inside = any(name == each.name for each in model.graph.layer)
    return range(model.config.n_layers) if inside else [None]


def grid_of(weights: list[np.ndarray], bits: int, sizes: list[int]) -> tuple[int, bool] | None:
    """(inputs in a group, whether each matrix has one step), for the matrices of an operation; None if they lie on no grid.

    The number is the first of `sizes` for which all matrices lie on a grid.
    """
    for size in sizes:
        found = [on_grid(weight, bits, size) for weight in weights]
        if None not in found:
            return size, all(integers.scale.size == 1 for integers in found)
    return None
