"""Llama, Mistral, Qwen2 and Qwen3 in Hugging Face folders: one set of names, with small differences."""

from dataclasses import replace

import numpy as np

from ..errors import FormatError
from ..model.config import ModelConfig
from ..model.rotary import llama3_factors
from .checks import checked_config, within_window
from .huggingface_family import Family, Tensor, ends

FIELDS = {
    "dim": "hidden_size", "hidden_dim": "intermediate_size", "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads", "n_kv_heads": "num_key_value_heads", "vocab_size": "vocab_size",
    "seq_len": "max_position_embeddings",
}
TENSORS = {
    "attention_norm": "input_layernorm", "wq": "self_attn.q_proj", "wk": "self_attn.k_proj",
    "wv": "self_attn.v_proj", "wo": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
    "w1": "mlp.gate_proj", "w2": "mlp.down_proj", "w3": "mlp.up_proj",
}
MORE = {
    "qwen2": {"wq_bias": "self_attn.q_proj.bias", "wk_bias": "self_attn.k_proj.bias", "wv_bias": "self_attn.v_proj.bias"},
    "qwen3": {"q_norm": "self_attn.q_norm.weight", "k_norm": "self_attn.k_norm.weight"},
}
"""Tensors of a layer that a family has beyond those of a Llama."""
MISTRAL_WINDOW, QWEN_END, QWEN3_HEAD = 4096, 151643, 128
"""Defaults of transformers, for settings that a folder does not have."""
SCALINGS = {"default": set(), "linear": {"factor"},
            "llama3": {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}}
"""Kinds of scaled rotary embeddings that Marey knows, and their numbers."""


def llama(where: str, found: dict) -> ModelConfig:
    """The ModelConfig of a Llama's `config.json`; see `Family.config`."""
    return _config(where, found, found.get("sliding_window"), **ends(found, 1, 2))


def mistral(where: str, found: dict) -> ModelConfig:
    """That of a Mistral, whose context ends where its window does."""
    return _config(where, found, found.get("sliding_window", MISTRAL_WINDOW), **ends(found, 1, 2))


def qwen2(where: str, found: dict) -> ModelConfig:
    """That of a Qwen2 or Qwen2.5."""
    window = found.get("sliding_window") if found.get("use_sliding_window", False) else None
    return _config(where, found, window, family="qwen2", **ends(found, QWEN_END, QWEN_END))


def qwen3(where: str, found: dict) -> ModelConfig:
    """That of a dense Qwen3."""
    window = found.get("sliding_window") if found.get("use_sliding_window", False) else None
    return _config(where, {"head_dim": QWEN3_HEAD} | found, window, family="qwen3", **ends(found, QWEN_END, QWEN_END))


def _config(where: str, found: dict, window: object, **own) -> ModelConfig:
    """The ModelConfig of any of them. `window`: its sliding window, or None. `own`: fields that differ between families."""
    values = {name: found.get(field) for name, field in FIELDS.items()}
    if values["n_kv_heads"] is None:
        values["n_kv_heads"] = values["n_heads"]
    scaling, kind = _scaling(where, found)
    plain = checked_config(
        where, FIELDS, **values, head_width=found.get("head_dim"),
        rope_theta=scaling.get("rope_theta", found.get("rope_theta", 10000.0)),
        norm_eps=found.get("rms_norm_eps", 1e-6), tied=found.get("tie_word_embeddings", False), **own)
    return replace(plain, seq_len=within_window(f"{where} sliding_window", window, plain.seq_len),
                   rope_factors=() if kind == "default" else _factors(where, scaling, kind, plain))


def _scaling(where: str, found: dict) -> tuple[dict, str]:
    """(settings, kind) of the rotary embedding, where older and newer folders have them."""
    scaling = found.get("rope_parameters") or found.get("rope_scaling") or {}
    kind = scaling.get("rope_type", scaling.get("type", "default")) if isinstance(scaling, dict) else None
    if not isinstance(kind, str) or kind not in SCALINGS:
        raise FormatError(f"{where} the rotary embedding is scaled, rope_scaling is {str(scaling)[:80]}, and "
                          f"Marey can do only {', '.join(SCALINGS)}")
    plain = {"rope_type", "type", "rope_theta"} | SCALINGS[kind]
    if unknown := {name for name, value in scaling.items() if name not in plain and value is not None} - (
            {"partial_rotary_factor"} if scaling.get("partial_rotary_factor") == 1 else set()):
        raise FormatError(f"{where} rope_scaling has {', '.join(sorted(unknown))[:80]}, which Marey does not know for "
                          f"the kind {kind}")
    return scaling, kind


def _factors(where: str, scaling: dict, kind: str, config: ModelConfig) -> tuple[float, ...]:
    """`ModelConfig.rope_factors` of a kind of scaling. FormatError for numbers that do not do."""
    numbers = {"original_max_position_embeddings": config.seq_len} | scaling
    for name in SCALINGS[kind]:
        if type(numbers.get(name)) not in (int, float) or not 0 < numbers[name] < 1e12:
            raise FormatError(f"{where} rope_scaling says {name} = {str(numbers.get(name))[:40]}, expected a positive number")
    if kind == "linear":
        return (float(np.float32(numbers["factor"])),) * (config.head_dim // 2)
    low, high = numbers["low_freq_factor"], numbers["high_freq_factor"]
    if low >= high:
        raise FormatError(f"{where} rope_scaling says low_freq_factor = {low}, expected less than high_freq_factor, {high}")
    return llama3_factors(config.head_dim, config.rope_theta, numbers["factor"], low, high,
                          numbers["original_max_position_embeddings"])


def about(config: ModelConfig) -> dict:
    """The entries of `config.json`; see `Family.about`. FormatError for a rotary embedding that folders have no place for."""
    scaling = {}
    if config.rope_factors:
        if len(set(config.rope_factors)) > 1:
            raise FormatError("a Hugging Face folder has no place for this model's scaled rotary embedding that Marey "
                              "knows: write a .gguf file")
        scaling = {"rope_scaling": {"rope_type": "linear", "factor": config.rope_factors[0]}}
    return {"hidden_act": "silu", "rope_theta": config.rope_theta, "rms_norm_eps": config.norm_eps,
            "head_dim": config.head_dim, **scaling}


def tensors(config: ModelConfig) -> list[Tensor]:
    """All tensors of a checkpoint."""
    heads = {"wq": config.n_heads, "wk": config.n_kv_heads, "wq_bias": config.n_heads, "wk_bias": config.n_kv_heads,
             "q_norm": 1, "k_norm": 1}
    own = {name: f"{path}.weight" for name, path in TENSORS.items()} | MORE.get(config.family, {})
    found = [Tensor("model.embed_tokens.weight", ("embedding",))]
    for layer in range(config.n_layers):
        found += [Tensor(f"model.layers.{layer}.{path}", (f"layers.{layer}.{name}",), heads=heads.get(name, 0))
                  for name, path in own.items()]
    found += [Tensor("model.norm.weight", ("final_norm",))]
    return found + ([] if config.tied else [Tensor("lm_head.weight", ("classifier",))])


def _family(architecture: str, config, **more) -> Family:
    settings = {"hidden_act": ("silu",), "attention_bias": (False,), "mlp_bias": (False,), "partial_rotary_factor": (1.0,),
                "quantization_config": (None,), "no_rope_layers": (None,), "rope_interleaved": (False,), **more}
    return Family(architecture, FIELDS, settings, config, about, tensors, r".*\.rotary_emb\.inv_freq")


FAMILIES = {
    "llama": _family("LlamaForCausalLM", llama), "mistral": _family("MistralForCausalLM", mistral),
    "qwen2": _family("Qwen2ForCausalLM", qwen2, use_mrope=(False,)), "qwen3": _family("Qwen3ForCausalLM", qwen3),
}
"""The families, by `model_type`."""
