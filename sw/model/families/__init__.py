"""Families of models: each file writes the graph of one family from a model's configuration."""

from functools import cache

from ...errors import FormatError
from ..config import ModelConfig
from ..graph import Graph, check
from . import gpt2, llama, qwen2, qwen3

FAMILIES = {"llama": llama, "gpt2": gpt2, "qwen2": qwen2, "qwen3": qwen3}
"""The modules, by the name in `ModelConfig.family`. Each has `graph(config)` and `weight_shapes(config)`."""


@cache
def graph_of(config: ModelConfig) -> Graph:
    """The checked graph of a model's token. FormatError for a family that does not exist."""
    if config.family not in FAMILIES:
        raise FormatError(f"no family of models is called {config.family!r}: there are {', '.join(FAMILIES)}")
    return check(FAMILIES[config.family].graph(config))


def weight_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every weight by its full name, in the order of a token; matrices are [outputs, inputs].

    A weight of layer N is called "layers.N.NAME". The classifier is listed only if the model is not
    tied.
    """
    found = {}
    family = FAMILIES[config.family]
    begin, layer, end = family.weight_shapes(config)
    found |= begin
    for index in range(config.n_layers):
        found |= {f"layers.{index}.{name}": shape for name, shape in layer.items()}
    return found | end
