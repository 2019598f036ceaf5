"""GPT-2 in Hugging Face folders."""

from ..model.config import ModelConfig
from .checks import checked_config
from .huggingface_family import Family, Tensor, ends

FIELDS = {"dim": "n_embd", "hidden_dim": "n_inner", "n_layers": "n_layer", "n_heads": "n_head",
          "vocab_size": "vocab_size", "seq_len": "n_positions"}
END = 50256
"""The token <|endoftext|>, which begins and ends a text."""
NORMS = {"attention_norm": "ln_1", "ffn_norm": "ln_2"}
MATRICES = {("wq", "wk", "wv"): "attn.c_attn", ("wo",): "attn.c_proj", ("w1",): "mlp.c_fc",
            ("w2",): "mlp.c_proj"}


def config(where: str, found: dict) -> ModelConfig:
    """The ModelConfig of its `config.json`; see `Family.config`."""
    values = {name: found.get(field) for name, field in FIELDS.items()}
    if values["hidden_dim"] is None and isinstance(values["dim"], int):
        values["hidden_dim"] = 4 * values["dim"]
    return checked_config(
        where, FIELDS, **values, n_kv_heads=values["n_heads"], family="gpt2",
        norm_eps=found.get("layer_norm_epsilon", 1e-5), tied=found.get("tie_word_embeddings", True),
        **ends(found, END, END))


def about(config: ModelConfig) -> dict:
    """The entries of `config.json`; see `Family.about`."""
    return {"activation_function": "gelu_new", "layer_norm_epsilon": config.norm_eps}


def tensors(config: ModelConfig) -> list[Tensor]:
    """All tensors of a checkpoint."""
    found = [Tensor("wte.weight", ("embedding",)), Tensor("wpe.weight", ("positions",))]
    for layer in range(config.n_layers):
        place, own = f"h.{layer}.", f"layers.{layer}."
        for name, path in NORMS.items():
            found += [Tensor(f"{place}{path}.weight", (own + name,)),
                      Tensor(f"{place}{path}.bias", (f"{own}{name}_bias",))]
        for names, path in MATRICES.items():
            found += [Tensor(f"{place}{path}.weight", tuple(own + name for name in names), transposed=True),
                      Tensor(f"{place}{path}.bias", tuple(f"{own}{name}_bias" for name in names))]
    found += [Tensor("ln_f.weight", ("final_norm",)), Tensor("ln_f.bias", ("final_norm_bias",))]
    return found + ([] if config.tied else [Tensor("lm_head.weight", ("classifier",))])


FAMILY = Family(
    "GPT2LMHeadModel", FIELDS,
    {"activation_function": ("gelu_new", "gelu_pytorch_tanh"), "scale_attn_weights": (True,),
     "scale_attn_by_inverse_layer_idx": (False,), "add_cross_attention": (False,), "quantization_config": (None,)},
    config, about, tensors, r"h\.\d+\.attn\.(bias|masked_bias)", prefix="transformer.")
