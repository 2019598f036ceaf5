"""The tensors of GGUF files, by architecture: which weight each holds, and in which order its rows lie.

In architecture `llama`, rows of Q and K lie as in llama2.c (rotary embedding turns neighbouring
pairs). llama.cpp calls this the NORM type, and its converters reorder Hugging Face's rows into it.
In the others they lie as Hugging Face has them, in two halves: the NEOX type.
"""

from collections.abc import Mapping

import numpy as np
from gguf.constants import MODEL_TENSOR, TENSOR_NAMES

from ..model.config import ModelConfig
from .huggingface_family import join_halves, split_halves

LAYER_TENSORS = {
    "attention_norm": MODEL_TENSOR.ATTN_NORM, "wq": MODEL_TENSOR.ATTN_Q, "wk": MODEL_TENSOR.ATTN_K,
    "wv": MODEL_TENSOR.ATTN_V, "wo": MODEL_TENSOR.ATTN_OUT, "ffn_norm": MODEL_TENSOR.FFN_NORM,
    "w1": MODEL_TENSOR.FFN_GATE, "w2": MODEL_TENSOR.FFN_DOWN, "w3": MODEL_TENSOR.FFN_UP,
}
HEAD_NORMS = {"q_norm": MODEL_TENSOR.ATTN_Q_NORM, "k_norm": MODEL_TENSOR.ATTN_K_NORM}
MODEL_TENSORS = {"embedding": MODEL_TENSOR.TOKEN_EMBD, "final_norm": MODEL_TENSOR.OUTPUT_NORM,
                 "classifier": MODEL_TENSOR.OUTPUT}
BIAS = "_bias"
"""How the names of biases end, which stand beside a matrix."""
ROPE_FACTORS = TENSOR_NAMES[MODEL_TENSOR.ROPE_FREQS] + ".weight"
"""The tensor with `ModelConfig.rope_factors`, float32 [head_dim / 2]."""
ARCHITECTURES = {"llama": False, "qwen2": True, "qwen3": True}
"""Names of architectures, which are those of families: whether rows of Q and K lie in two halves."""


def tensor_name(weight: str) -> str:
    """The name of the tensor that holds a weight."""
    suffix = ".bias" if weight.endswith(BIAS) else ".weight"
    weight = weight.removesuffix(BIAS)
    if weight.startswith("layers."):
        _, layer, kind = weight.split(".")
        return TENSOR_NAMES[(LAYER_TENSORS | HEAD_NORMS)[kind]].format(bid=layer) + suffix
    return TENSOR_NAMES[MODEL_TENSORS[weight]] + suffix


def from_file(config: ModelConfig, weight: str, values: np.ndarray) -> np.ndarray:
    """A weight, from its tensor."""
    heads = _halved(config).get(weight.rpartition(".")[2])
    return join_halves(values, heads) if heads else values


def to_file(config: ModelConfig, weight: str, values: np.ndarray) -> np.ndarray:
    """The tensor of a weight: the reverse of `from_file`."""
    heads = _halved(config).get(weight.rpartition(".")[2])
    return split_halves(values, heads) if heads else values


def _halved(config: ModelConfig) -> Mapping[str, int]:
    """Number of heads in each weight of a layer whose rows lie in two halves."""
    if not ARCHITECTURES[config.family]:
        return {}
    queries, keys = config.n_heads, config.n_kv_heads
    return {"wq": queries, "wq_bias": queries, "q_norm": 1, "wk": keys, "wk_bias": keys, "k_norm": 1}
