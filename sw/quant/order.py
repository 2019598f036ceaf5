"""The order of the channels of a feed-forward block's hidden vector.

Any order gives an equal model. The hidden vector of a balanced model has groups of channels with a
step each (`integer_graph`), and the products of the groups are added up in 16 bits, one after another.
In some models a few channels are so large that two of them cancel each other: in another group each,
the sum would leave 16 bits in between. So the channels are sorted by the size of their products, and
the largest ones share the first group.
"""

import numpy as np

from ..model.graph import Kind
from ..model.model import Model, full_name


def ordered(model: Model, ranges: dict[str, np.ndarray], block: int = 1) -> tuple[Model, dict[str, np.ndarray]]:
    """An equal model whose hidden vectors, if they are results of a MULTIPLY, are sorted in each layer:
    blocks of `block` channels with the largest products first; and the `ranges` of its calibration in the new order."""
    layer, weights, ranges = model.graph.layer, dict(model.weights), dict(ranges)
    for operation in (each for each in layer if each.kind is Kind.MULTIPLY):
        readers = model.graph.readers(operation.output.name, layer)
        makers = [_matrix_behind(model, name) for name in operation.inputs]
        for index in range(model.config.n_layers):
            columns = [full_name(name, index) for reader in readers for name in reader.weights]
            rows = [full_name(name, index) for maker in makers for name in (*maker.weights, *maker.bias)]
            recorded = [f"{index}.{name}.channels" for name in (operation.output.name, *operation.inputs)]
            largest = ranges[recorded[0]] * np.max([np.abs(weights[name]).max(axis=0) for name in columns], axis=0)
            order = _sorted_blocks(largest, block)
            weights |= {name: weights[name][order] for name in rows} | {name: weights[name][:, order] for name in columns}
            ranges |= {name: ranges[name][order] for name in recorded}
    return Model(model.config, weights, model.graph), ranges


def _sorted_blocks(largest, block):
    """The numbers of channels, by blocks, the block with the largest first; a last one that is not whole stays there."""
    whole = len(largest) // block * block
    order = np.argsort(-largest[:whole].reshape(-1, block).max(axis=1), kind="stable")
    blocks = np.arange(whole).reshape(-1, block)[order]
    return np.concatenate([blocks.ravel(), np.arange(whole, len(largest))])


def _matrix_behind(model, value):
    """The LINEAR of a layer that makes a value, directly or through an ACTIVATE."""
    operation = model.graph.producer(value, model.graph.layer)
    return operation if operation.kind is Kind.LINEAR else _matrix_behind(model, operation.inputs[0])
