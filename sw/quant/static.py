"""Static units of inputs of matrices: one number for all tokens, from calibration, and no scalar at run time.

A tile with one engine of the VXM waits for each pass. With static units no pass looks for the largest value, and none
multiplies a matrix's factors by a scalar; the pass that makes a hidden vector makes it int8 at once, or the VXM does as it
takes the sums of a gated matrix, which have no factors. int8 has no headroom: there, clipping a rare value costs less than
a coarser step for all. `integer_graph` says which values are `static`; what they cost is in docs/integers.md.
"""

from collections.abc import Sequence

import numpy as np

from ..model.graph import Graph, Kind
from ..model.integer_graph import maker
from ..model.model import Model
from .fixed_point import HEADROOM
from .gains import grid_of, weights_of
from .gptq import on_grid
from .model import Linear

LARGEST = 127
"""The int8 value of calibration's largest."""


def logits_complete(graph: Graph) -> bool:
    """Whether logits need no scale of their token: their matrix's input has a static unit, or they are multiplied by its
    scalar."""
    classifier = graph.find("classifier")
    return classifier.scaled or maker(graph, classifier).output.static


def may_be_gated(model: Model, bits: int) -> bool:
    """Whether the matrices that make the second inputs of MULTIPLY operations can make the products themselves (see
    `integer_graph`): in each layer all weights of such a matrix lie on a grid with one step, and it has no bias.

    So all its sums have one unit, and no factors; `bits`: of a weight.
    """
    layer = model.graph.layer
    matrices = [model.graph.producer(each.inputs[1], layer) for each in layer if each.kind is Kind.MULTIPLY]
    return bits == 4 and all(
        matrix.kind is Kind.LINEAR and not matrix.bias and len(model.graph.readers(matrix.output.name, layer)) == 1
        and (grid_of(weights_of(model, matrix.name), bits, [model.graph.inputs(matrix)]) or (0, False))[1]
        for matrix in matrices)


def gated_linears(weights: Sequence[np.ndarray], bits: int, largest: Sequence[np.ndarray],
                  units: Sequence[float]) -> tuple[list[Linear], list[float]]:
    """(the integers of a gated matrix, the units of its int8 results), for each layer.

    `weights`: float [N, K], on a grid with one step; `largest`: the largest magnitude of each product; `units`: that of the
    input times that of the gate.
    """
    made = [on_grid(weight, bits, weight.shape[1]) for weight in weights]
    units = [unit * float(integers.scale.max()) for unit, integers in zip(units, made, strict=True)]
    shift = max(0, int8_shift(largest, units))
    ones = np.ones((1, 1), np.int16)
    return ([Linear(integers.values, ones, shift, integers.group) for integers in made], [unit * 2.0**shift for unit in units])


def int8_shift(largest: Sequence[np.ndarray], units: Sequence[float | np.ndarray]) -> int:
    """The bits by which a result is shifted to int8, the same in all layers.

    `largest`: for each layer the largest magnitude of each channel in calibration; `units`: those of the result before
    it is shifted, numbers or [channels].
    """
    wanted = max(float((channels / unit).max()) for channels, unit in zip(largest, units, strict=True))
    return int(np.ceil(np.log2(wanted / LARGEST)))


def product_integers(largest: Sequence[float], others: Sequence[float], known: float) -> tuple[list[float], list[float], int]:
    """(units of an int8 product, units of its second operand, the shift of the product), the units for each layer.

    `largest`, `others`: for each layer the largest magnitude of the product and of the second operand; `known`: unit of
    the first operand. The second operand has all the bits for which 16 are enough in every layer.
    """
    units = [each / LARGEST for each in largest]
    shift = min(int(np.floor(np.log2(32767 * unit / (HEADROOM * known * max(other, 1e-9)))))
                for unit, other in zip(units, others, strict=True))
    return units, [unit / (known * 2.0**shift) for unit in units], shift
