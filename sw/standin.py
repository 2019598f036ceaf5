"""A model without weights: what is scheduled depends on no value of them, and so do the cycles of a token."""

import numpy as np

from .gptq import on_grid
from .model import Llama, ModelConfig
from .quantise import GROUP, Linear, QuantisedModel, Shifts


def stand_in(config: ModelConfig, bits: int = 8, group: int = GROUP, model: Llama | None = None) -> QuantisedModel:
    """A model of this shape without weights.

    Where weights have 4 `bits` the groups of inputs that share a scale matter: they are those of a `model` whose weights lie on
    a grid, else `group`s, as the quantiser makes them.
    """
    inputs = {"qk": config.dim, "v": config.dim, "wo": config.dim, "w1": config.dim, "w3": config.dim, "w2": config.hidden_dim,
              "classifier": config.dim, "embedding": config.dim}
    sizes = {}
    for name, count in inputs.items():
        if bits == 8:
            sizes[name] = count
        elif name == "embedding" and config.tied:
            sizes[name] = sizes["classifier"]
        else:
            tried = [config.head_dim] if name == "wo" else [2 * group, group]
            sizes[name] = _group(_weights(model, name), bits, [count, *tried]) if model else tried[-1]

    def factors(name):
        return np.zeros((-(-inputs[name] // sizes[name]), 0), np.int16)

    nothing = np.zeros(0, np.int8)
    return QuantisedModel(
        config=config, bits=bits, embedding=nothing, embedding_factor=factors("embedding"), embedding_group=sizes["embedding"],
        residual_unit=0, epsilon=1, layers=[], final_gain=nothing, logit_unit=1.0,
        shifts=Shifts(embedding=0, attention_norm=0, ffn_norm=0, final_norm=0, score=0, value_gain=0, hidden=0, logit_scale=0),
        linears={name if name == "classifier" else f"layers.0.{name}": Linear(nothing, factors(name), 0, sizes[name])
                 for name in inputs if name != "embedding"})


def _weights(model, name):
    """The matrices that the quantiser takes together: one a layer, or one in all."""
    if name in ("classifier", "embedding"):
        return [getattr(model, name)]
    if name == "qk":
        return [np.concatenate([layer.wq, layer.wk]) for layer in model.layers]
    return [getattr(layer, "wv" if name == "v" else name) for layer in model.layers]


def _group(weights, bits, sizes):
    """The first size of groups in which all weights are on a grid, or else the last."""
    return next((size for size in sizes if all(on_grid(weight, bits, size) is not None for weight in weights)), sizes[-1])
