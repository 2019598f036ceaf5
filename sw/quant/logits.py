"""The unit of logits, and their scale at run time."""

from collections.abc import Mapping

import numpy as np

from ..model.graph import Graph
from .fixed_point import unit_bits
from .offsets import Units
from .static import logits_complete

FULL_SCALE = 16384
"""int16 value of calibration's largest logit, if the scalar of the classifier's input is not multiplied into it."""


def logit_unit(graph: Graph, ranges: Mapping[str, np.ndarray], units: Units) -> float:
    """The unit of the classifier's integer results.

    If the classifier is not `scaled`, a logit is such a result times the scalar of its input, or times the input's unit
    if that is static. `ranges`: those of `calibrate`. `units`: of values.
    """
    classifier = graph.find("classifier")
    largest = ranges[classifier.output.name]
    if classifier.scaled:
        return 2.0**-unit_bits(largest)
    if logits_complete(graph):
        return float(largest / units[classifier.inputs[0]][0]) / FULL_SCALE
    return float(ranges["logits.integers"]) / FULL_SCALE


def logit_scale(graph: Graph, ranges: Mapping[str, np.ndarray], units: Units) -> tuple[float, int]:
    """(`QuantisedModel.logit_unit`, the shift that brings the last scalar to an int16 scale). Parameters as above."""
    classifier = graph.find("classifier")
    constant, bare = units[classifier.inputs[0]][0], units[classifier.output.name][0]
    if logits_complete(graph):
        # Their scale is 1, which is 2**14 as an int16.
        return float(bare * 2.0**-14) * (1.0 if classifier.scaled else float(constant)), 0
    shift = int(np.ceil(np.log2(float(ranges["final.scalar"]) / constant))) + 1
    return float(constant * bare * 2.0 ** (shift - 14)), shift
