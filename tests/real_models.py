"""The `config.json` of models that people run: what shapes they have, and folders of such shapes with fewer layers and tokens.

Entries that Marey does not read, such as the version of transformers, are left out.
"""

import json
from dataclasses import replace
from pathlib import Path

from marey.sw.formats import huggingface, load_shape
from marey.sw.formats.tiny import tiny_model
from tests.vocabularies import byte_level

LLAMA = {"model_type": "llama", "hidden_act": "silu", "attention_bias": False, "rms_norm_eps": 1e-5, "bos_token_id": 1,
         "eos_token_id": 2, "rope_theta": 10000.0, "rope_scaling": None, "tie_word_embeddings": False}
LLAMA3 = LLAMA | {"vocab_size": 128256, "rope_theta": 500000.0, "bos_token_id": 128000, "eos_token_id": 128009}
MISTRAL = LLAMA | {"model_type": "mistral", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
                   "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 32768}
QWEN = {"hidden_act": "silu", "rms_norm_eps": 1e-6, "bos_token_id": 151643, "eos_token_id": 151645, "rope_theta": 1e6,
        "tie_word_embeddings": True, "use_sliding_window": False, "vocab_size": 151936}


def _shape(hidden, intermediate, layers, heads, kv_heads, positions, **more):
    return {"hidden_size": hidden, "intermediate_size": intermediate, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": kv_heads, "max_position_embeddings": positions, **more}


MODELS = {
    "TinyLlama-1.1B-Chat-v1.0": LLAMA | _shape(2048, 5632, 22, 32, 4, 2048, vocab_size=32000),
    "Llama-2-7b": LLAMA | _shape(4096, 11008, 32, 32, 32, 4096, vocab_size=32000),
    "Meta-Llama-3-8B-Instruct": LLAMA3 | _shape(4096, 14336, 32, 32, 8, 8192),
    "Llama-3.2-1B-Instruct": LLAMA3 | _shape(
        2048, 8192, 16, 32, 8, 131072, head_dim=64, tie_word_embeddings=True, eos_token_id=[128001, 128008, 128009],
        rope_scaling={"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                      "original_max_position_embeddings": 8192, "rope_type": "llama3"}),
    "SmolLM2-135M-Instruct": LLAMA | _shape(576, 1536, 30, 9, 3, 8192, vocab_size=49152, rope_theta=100000,
                                            tie_word_embeddings=True, rope_interleaved=False),
    "SmolLM2-1.7B-Instruct": LLAMA | _shape(2048, 8192, 24, 32, 32, 8192, vocab_size=49152, rope_theta=130000,
                                            tie_word_embeddings=True),
    "Mistral-7B-Instruct-v0.1": MISTRAL | {"vocab_size": 32000, "sliding_window": 4096},
    "Mistral-7B-Instruct-v0.3": MISTRAL | {"vocab_size": 32768, "sliding_window": None, "rope_theta": 1e6},
    "Qwen2.5-0.5B-Instruct": QWEN | {"model_type": "qwen2"} | _shape(896, 4864, 24, 14, 2, 32768, sliding_window=32768),
    "Qwen3-0.6B": QWEN | {"model_type": "qwen3", "head_dim": 128, "attention_bias": False, "sliding_window": None}
    | _shape(1024, 3072, 28, 16, 8, 40960),
    "gpt2": {"model_type": "gpt2", "activation_function": "gelu_new", "n_embd": 768, "n_layer": 12, "n_head": 12,
             "n_positions": 1024, "n_ctx": 1024, "vocab_size": 50257, "layer_norm_epsilon": 1e-5, "bos_token_id": 50256,
             "eos_token_id": 50256},
}
CUT = {"vocab_size": 400, "bos_token_id": 0, "eos_token_id": 0}


def config_folder(folder: Path, name: str, **changes) -> Path:
    """A folder with the `config.json` of a model, alone."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(MODELS[name] | changes))
    return folder


def cut_folder(folder: Path, name: str, layers: int = 1, **changes) -> Path:
    """A folder with random weights in the shape of a model, but with few layers, 400 tokens, and other `changes`.

    Llamas of 7 and 8 billion weights have 0.2 billion in a layer: name a smaller `intermediate_size` for them.
    """
    depth = "n_layer" if MODELS[name]["model_type"] == "gpt2" else "num_hidden_layers"
    shape = load_shape(config_folder(folder, name, **CUT, **{depth: layers}, **changes))
    content = (folder / "config.json").read_text()
    # No weight depends on the scaling of the rotary embedding, which Marey writes in its simplest form only.
    huggingface.write(folder, tiny_model(replace(shape, rope_factors=())), byte_level("qwen2"))
    (folder / "config.json").write_text(content)  # as the model has it, and not as Marey writes it
    return folder
