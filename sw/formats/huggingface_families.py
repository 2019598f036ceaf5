"""Families of models in Hugging Face folders: how `config.json` and the tensors map to Marey's, by
`model_type`.

To add a family, write a `Family` and enter it in `FAMILIES`. Names and defaults are those of the
library transformers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import FormatError
from ..model.config import ModelConfig
from .checks import check_window, checked_config

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Tensor:
    """A tensor of a checkpoint, and the weights that it holds.

    `name`: in the checkpoint. `weights`: names of the weights, whose rows (outputs) follow one
    another in it. `transposed`: the checkpoint has it as [inputs, outputs]. `heads`: if not 0, its
    rows are this many heads, and in each head the channels that rotary embedding turns together lie
    half a head apart; Marey has them side by side.
    """

    name: str
    weights: tuple[str, ...]
    transposed: bool = False
    heads: int = 0

    def shape(self, shapes: Mapping[str, Shape]) -> Shape:
        """The tensor's shape in the checkpoint; `shapes`: those of the weights, by name."""
        parts = [shapes[weight] for weight in self.weights]
        whole = (sum(part[0] for part in parts), *parts[0][1:])
        return whole[::-1] if self.transposed else whole

    def split(self, values: np.ndarray, shapes: Mapping[str, Shape]) -> dict[str, np.ndarray]:
        """The weights that a tensor holds, by name: a matrix as [outputs, inputs].

        `values`: the tensor as the checkpoint has it. `shapes`: those of the weights, by name.
        """
        if self.transposed:
            values = np.ascontiguousarray(values.T)
        if self.heads:
            values = join_halves(values, self.heads)
        ends = np.cumsum([shapes[weight][0] for weight in self.weights])[:-1]
        return dict(zip(self.weights, np.split(values, ends), strict=True))

    def join(self, weights: Mapping[str, np.ndarray]) -> np.ndarray:
        """The tensor as the checkpoint has it, from the weights by name: the reverse of `split`."""
        parts = [weights[weight] for weight in self.weights]
        values = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if self.heads:
            values = split_halves(values, self.heads)
        return values.T if self.transposed else values


@dataclass(frozen=True)
class Family:
    """How the folders of a family map to Marey's models.

    `architecture`: the class of transformers that runs it. `fields`: the name in `config.json` of
    each dimension of ModelConfig. `settings`: the values that Marey supports for other settings; the
    first one is the default. `config(where, settings)`: the ModelConfig that `config.json`
    describes, or FormatError, whose message begins with `where`. `about(config)`: the reverse, the
    family's own entries of `config.json`. `tensors(config)`: all tensors of a checkpoint. `prefix`:
    the tensors' names may begin with this. `ignored`: pattern for the names of tensors that can be
    computed from `config.json`.
    """

    architecture: str
    fields: Mapping[str, str]
    settings: Mapping[str, tuple]
    config: Callable[[str, dict], ModelConfig]
    about: Callable[[ModelConfig], dict]
    tensors: Callable[[ModelConfig], list[Tensor]]
    ignored: str
    prefix: str = ""


def split_halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of Q or K [heads * head_dim, dim] from neighbouring pairs to Hugging Face's order of two
    halves; a copy.
    """
    return weight.reshape(heads, -1, 2, weight.shape[-1]).swapaxes(1, 2).reshape(weight.shape)


def join_halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """The reverse of `split_halves`."""
    return weight.reshape(heads, 2, -1, weight.shape[-1]).swapaxes(1, 2).reshape(weight.shape)


def _ends(found: dict, bos: int, eos: int) -> dict:
    """Tokens that begin and end a text, as ModelConfig has them; `bos`, `eos`: the family's
    defaults.
    """
    begin, end = found.get("bos_token_id", bos), found.get("eos_token_id", eos)
    ends = tuple(end) if isinstance(end, list) else () if end is None else (end,)
    return {"bos": ends[0] if begin is None and ends else begin, "eos": ends}


LLAMA_FIELDS = {
    "dim": "hidden_size", "hidden_dim": "intermediate_size", "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads", "n_kv_heads": "num_key_value_heads", "vocab_size": "vocab_size",
    "seq_len": "max_position_embeddings",
}
LLAMA_TENSORS = {
    "attention_norm": "input_layernorm", "wq": "self_attn.q_proj", "wk": "self_attn.k_proj",
    "wv": "self_attn.v_proj", "wo": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
    "w1": "mlp.gate_proj", "w2": "mlp.down_proj", "w3": "mlp.up_proj",
}


def _llama_config(where: str, found: dict) -> ModelConfig:
    values = {name: found.get(field) for name, field in LLAMA_FIELDS.items()}
    if values["n_kv_heads"] is None:
        values["n_kv_heads"] = values["n_heads"]
    config = checked_config(
        where, LLAMA_FIELDS, **values, rope_theta=_rope_theta(where, found),
        norm_eps=found.get("rms_norm_eps", 1e-6), tied=found.get("tie_word_embeddings", False),
        **_ends(found, 1, 2))
    check_window(f"{where} sliding_window", found.get("sliding_window"), config.seq_len)
    if found.get("head_dim") not in (None, config.head_dim):
        raise FormatError(f"{where} head_dim is {str(found['head_dim'])[:80]}, and Marey can do only "
                          f"{config.head_dim} here: hidden_size / num_attention_heads")
    return config


def _rope_theta(where: str, found: dict) -> float:
    """The base of rotary embedding, where older and newer folders have it."""
    scaling = found.get("rope_parameters") or found.get("rope_scaling") or {}
    kind = scaling.get("rope_type", scaling.get("type", "default")) if isinstance(scaling, dict) else scaling
    if kind != "default":
        raise FormatError(f"{where} the rotary embedding is scaled, rope_scaling is {str(scaling)[:80]}, and "
                          "Marey can do only null")
    return scaling.get("rope_theta", found.get("rope_theta", 10000.0))


def _llama_about(config: ModelConfig) -> dict:
    return {"hidden_act": "silu", "rope_theta": config.rope_theta, "rms_norm_eps": config.norm_eps}


def _llama_tensors(config: ModelConfig) -> list[Tensor]:
    heads = {"wq": config.n_heads, "wk": config.n_kv_heads}
    found = [Tensor("model.embed_tokens.weight", ("embedding",))]
    for layer in range(config.n_layers):
        found += [Tensor(f"model.layers.{layer}.{path}.weight", (f"layers.{layer}.{name}",),
                         heads=heads.get(name, 0)) for name, path in LLAMA_TENSORS.items()]
    found += [Tensor("model.norm.weight", ("final_norm",))]
    return found + ([] if config.tied else [Tensor("lm_head.weight", ("classifier",))])


GPT2_FIELDS = {"dim": "n_embd", "hidden_dim": "n_inner", "n_layers": "n_layer", "n_heads": "n_head",
               "vocab_size": "vocab_size", "seq_len": "n_positions"}
GPT2_END = 50256
"""The token <|endoftext|>, which begins and ends a text."""
GPT2_NORMS = {"attention_norm": "ln_1", "ffn_norm": "ln_2"}
GPT2_MATRICES = {("wq", "wk", "wv"): "attn.c_attn", ("wo",): "attn.c_proj", ("w1",): "mlp.c_fc",
                 ("w2",): "mlp.c_proj"}


def _gpt2_config(where: str, found: dict) -> ModelConfig:
    values = {name: found.get(field) for name, field in GPT2_FIELDS.items()}
    if values["hidden_dim"] is None and isinstance(values["dim"], int):
        values["hidden_dim"] = 4 * values["dim"]
    return checked_config(
        where, GPT2_FIELDS, **values, n_kv_heads=values["n_heads"], family="gpt2",
        norm_eps=found.get("layer_norm_epsilon", 1e-5), tied=found.get("tie_word_embeddings", True),
        **_ends(found, GPT2_END, GPT2_END))


def _gpt2_about(config: ModelConfig) -> dict:
    return {"activation_function": "gelu_new", "layer_norm_epsilon": config.norm_eps}


def _gpt2_tensors(config: ModelConfig) -> list[Tensor]:
    found = [Tensor("wte.weight", ("embedding",)), Tensor("wpe.weight", ("positions",))]
    for layer in range(config.n_layers):
        place, own = f"h.{layer}.", f"layers.{layer}."
        for name, path in GPT2_NORMS.items():
            found += [Tensor(f"{place}{path}.weight", (own + name,)),
                      Tensor(f"{place}{path}.bias", (f"{own}{name}_bias",))]
        for names, path in GPT2_MATRICES.items():
            found += [Tensor(f"{place}{path}.weight", tuple(own + name for name in names), transposed=True),
                      Tensor(f"{place}{path}.bias", tuple(f"{own}{name}_bias" for name in names))]
    found += [Tensor("ln_f.weight", ("final_norm",)), Tensor("ln_f.bias", ("final_norm_bias",))]
    return found + ([] if config.tied else [Tensor("lm_head.weight", ("classifier",))])


FAMILIES = {
    "llama": Family(
        "LlamaForCausalLM", LLAMA_FIELDS,
        {"hidden_act": ("silu",), "attention_bias": (False,), "mlp_bias": (False,),
         "use_sliding_window": (False,), "partial_rotary_factor": (1.0,), "quantization_config": (None,),
         "no_rope_layers": (None,)},
        _llama_config, _llama_about, _llama_tensors, r".*\.rotary_emb\.inv_freq"),
    "gpt2": Family(
        "GPT2LMHeadModel", GPT2_FIELDS,
        {"activation_function": ("gelu_new", "gelu_pytorch_tanh"), "scale_attn_weights": (True,),
         "scale_attn_by_inverse_layer_idx": (False,), "add_cross_attention": (False,),
         "quantization_config": (None,)},
        _gpt2_config, _gpt2_about, _gpt2_tensors, r"h\.\d+\.attn\.(bias|masked_bias)", prefix="transformer."),
}
"""The families, by `model_type`."""
