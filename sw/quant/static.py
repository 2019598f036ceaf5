"""Static units of inputs of matrices: one number for all tokens, from calibration, and no scalar at run time.

A tile with one engine of the VXM waits for each pass. With static units no pass looks for the largest value, and none
multiplies a matrix's factors by a scalar; the pass that makes a hidden vector makes it int8 at once. int8 has no
headroom: there, clipping a rare value costs less than a coarser step for all. `integer_graph` says which values are
`static`; what they cost is in docs/integers.md.
"""

from collections.abc import Sequence

import numpy as np

from ..model.graph import Graph
from ..model.integer_graph import maker
from .fixed_point import HEADROOM

LARGEST = 127
"""The int8 value of calibration's largest."""


def logits_complete(graph: Graph) -> bool:
    """Whether logits need no scale of their token: their matrix's input has a static unit, or they are multiplied by its
    scalar."""
    classifier = graph.find("classifier")
    return classifier.scaled or maker(graph, classifier).output.static


def norm_shift(largest: Sequence[np.ndarray], units: Sequence[float | np.ndarray]) -> int:
    """The bits by which a norm's result is shifted to int8, the same in all layers.

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
