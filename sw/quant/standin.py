"""A model without weights: what is scheduled depends on no value of them, and so do the cycles of a token."""

import numpy as np

from ..model.model import Llama, ModelConfig
from .gptq import on_grid
from .quantise import GROUP, Linear, QuantisedLayer, QuantisedModel, Shifts


def stand_in(config: ModelConfig, bits: int = 8, group: int = GROUP, model: Llama | None = None) -> QuantisedModel:
    """A model of this shape without weights.

    Where weights have 4 `bits` it matters which inputs share a scale, and whether all outputs do: as in a `model` whose weights
    lie on a grid, else in `group`s, as the quantiser makes them. So does whether its norms have gains.
    """
    inputs = {"qk": config.dim, "v": config.dim, "wo": config.dim, "w1": config.dim, "w3": config.dim, "w2": config.hidden_dim,
              "classifier": config.dim, "embedding": config.dim}
    sizes, factors = {}, {}
    for name, count in inputs.items():
        tried, alike = [config.head_dim] if name == "wo" else [2 * group, group], False
        if bits == 8:
            sizes[name] = count
        elif name == "embedding" and config.tied:
            sizes[name], alike = sizes["classifier"], factors["classifier"].size == 1
        elif model:
            sizes[name], alike = _grid(_weights(model, name), bits, [count, *tried])
        else:
            sizes[name] = tried[-1]
        # A step of queries and keys is one of a pair of channels, however alike the weights'.
        factors[name] = np.zeros((-(-count // sizes[name]), int(alike and name != "qk")), np.int16)

    def gain(name):
        gains = [getattr(part, name) for part in (model.layers if name != "final_norm" else [model])] if model else [0]
        return np.zeros(int(all(np.all(gain == 1) for gain in gains)), np.int16)

    nothing = np.zeros(0, np.int8)
    layer = QuantisedLayer(gain("attention_norm"), nothing, nothing, gain("ffn_norm"))
    return QuantisedModel(
        config=config, bits=bits, embedding=nothing, embedding_factor=factors["embedding"], embedding_group=sizes["embedding"],
        residual_unit=0, epsilon=1, layers=[layer], final_gain=gain("final_norm"), logit_unit=1.0,
        shifts=Shifts(embedding=0, attention_norm=0, ffn_norm=0, final_norm=0, score=0, value_gain=0, hidden=0, logit_scale=0),
        linears={name if name == "classifier" else f"layers.0.{name}": Linear(nothing, factors[name], 0, sizes[name])
                 for name in inputs if name != "embedding"})


def _weights(model, name):
    """The matrices that the quantiser takes together: one a layer, or one in all."""
    if name in ("classifier", "embedding"):
        return [getattr(model, name)]
    if name == "qk":
        return [np.concatenate([layer.wq, layer.wk]) for layer in model.layers]
    return [getattr(layer, "wv" if name == "v" else name) for layer in model.layers]


def _grid(weights, bits, sizes):
    """The first size of groups in which all weights are on a grid, or else the last; and whether each matrix has one step."""
    for size in sizes:
        found = [on_grid(weight, bits, size) for weight in weights]
        if None not in found:
            return size, all(integers.scale.size == 1 for integers in found)
    return sizes[-1], False
