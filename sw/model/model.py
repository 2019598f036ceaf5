"""A model: its configuration, its graph and its float32 weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .config import ModelConfig
from .families import graph_of
from .graph import Graph, Operation


@dataclass(frozen=True)
class Model:
    """A model: configuration, weights and graph.

    `weights`: float32 arrays by name, as `families.weight_shapes` lists them, and "classifier". If
    the model is tied, "classifier" is the same array as "embedding". Matrices are [outputs, inputs].
    `graph`: the graph that the family writes, unless a pass has rewritten it.
    """

    config: ModelConfig
    weights: Mapping[str, np.ndarray]
    graph: Graph = field(default=None)

    def __post_init__(self):
        if self.graph is None:
            object.__setattr__(self, "graph", graph_of(self.config))
        if self.config.tied and "classifier" not in self.weights:
            object.__setattr__(self, "weights", {**self.weights, "classifier": self.weights["embedding"]})

    def __getitem__(self, name: str) -> np.ndarray:
        """A weight by its full name. KeyError if there is none."""
        return self.weights[name]

    def of(self, operation: Operation, layer: int | None = None) -> list[np.ndarray]:
        """The weights of an operation, in the order of `operation.weights`.

        `layer`: number of the layer, or None for an operation outside the layers.
        """
        return [self.weights[full_name(name, layer)] for name in operation.weights]

    def bias(self, operation: Operation, layer: int | None = None) -> np.ndarray | None:
        """The bias of an operation, [outputs], or None if it has none; `layer` as for `of`."""
        found = [self.weights[full_name(name, layer)] for name in operation.bias]
        return np.concatenate(found) if found else None


def full_name(name: str, layer: int | None) -> str:
    """The name of a weight or vector in a model: "layers.N.NAME" in layer N, NAME outside the
    layers."""
    return name if layer is None else f"layers.{layer}.{name}"
