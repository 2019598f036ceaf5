"""The Qwen2 family: a Llama with biases on queries, keys and values (arXiv 2407.10671)."""

from dataclasses import replace

from ..config import ModelConfig
from ..graph import Graph
from . import llama

BIASES = {"qk": ("wq_bias", "wk_bias"), "v": ("wv_bias",)}
"""Names of biases, by the operation that adds them."""


def weight_shapes(config: ModelConfig) -> tuple[llama.Shapes, llama.Shapes, llama.Shapes]:
    """Shapes of the weights before the layers, of one layer, and after the layers, by name."""
    begin, layer, end = llama.weight_shapes(config)
    biases = {"wq_bias": (config.heads_dim,), "wk_bias": (config.kv_dim,), "wv_bias": (config.kv_dim,)}
    return begin, layer | biases, end


def graph(config: ModelConfig) -> Graph:
    """The operations of a token."""
    known = llama.graph(config)
    layer = tuple(replace(operation, bias=BIASES.get(operation.name, ())) for operation in known.layer)
    return replace(known, layer=layer)
