"""Models whose residual has channels that are far larger than the others, as real language models have."""

from dataclasses import replace

import numpy as np

from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.model.graph import Kind
from marey.sw.model.model import Model

LARGE = 1000.0
"""The value of the large channel; the others are near 1."""


def outlier_model(shape: ModelConfig) -> Model:
    """A drawn model (`tiny_model`), untied, one of whose channels has the value `LARGE` in all tokens.

    That channel alone makes the root mean square, and the gains of norms make up for it, so that all
    channels matter as much as before.
    """
    shape = replace(shape, tied=False)
    model, channel = tiny_model(shape), shape.dim // 2
    weights = {name: np.array(values) for name, values in model.weights.items()}
    gains = {name for norm in model.graph.of_kind(Kind.NORM) for name in norm.weights}
    writers = {name for add in model.graph.of_kind(Kind.ADD)
               for name in model.graph.producer(add.inputs[1], model.graph.layer).weights}
    for name, values in weights.items():
        kind = name.rpartition(".")[2]
        if kind in gains:
            values *= LARGE / np.sqrt(shape.dim)
            values[channel] /= LARGE
        elif kind in writers:
            values[channel] = 0
    weights["embedding"][:, channel] = LARGE
    return Model(shape, weights)
