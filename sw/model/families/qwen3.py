"""The Qwen3 family: a Llama whose queries and keys have norms, head by head, before they are turned (arXiv 2505.09388)."""

from dataclasses import replace

from ..config import ModelConfig
from ..graph import Graph, Kind, Operation
from . import llama

GAINS = ("q_norm", "k_norm")
"""Names of the gains: one for each channel of a head, the same for all heads."""


def weight_shapes(config: ModelConfig) -> tuple[llama.Shapes, llama.Shapes, llama.Shapes]:
    """Shapes of the weights before the layers, of one layer, and after the layers, by name."""
    begin, layer, end = llama.weight_shapes(config)
    return begin, layer | dict.fromkeys(GAINS, (config.head_dim,)), end


def graph(config: ModelConfig) -> Graph:
    """The operations of a token."""
    known, layer = llama.graph(config), []
    for operation in known.layer:
        if operation.kind is Kind.ROTATE:
            qk, angles = operation.inputs
            norm = Operation(kind=Kind.HEAD_NORM, name="qk_norm", inputs=(qk,), output=replace(operation.output, name="normed"),
                             phase=operation.phase, weights=GAINS)
            layer += [norm, replace(operation, inputs=(norm.output.name, angles))]
        else:
            layer.append(operation)
    return replace(known, layer=tuple(layer))
