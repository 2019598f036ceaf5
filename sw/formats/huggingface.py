"""Hugging Face folders: `config.json`, `model.safetensors` (or shards with an index), `tokenizer.json`; Llama shapes.

Rows of Q and K lie there with the two halves of each head turning together; here they are put back into neighbouring
pairs, as llama.cpp's converters do. Weights are read tensor by tensor, from a mapped file.
"""

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from ..errors import FormatError
from ..model import Layer, Llama, ModelConfig, shapes
from ..tokenizer import BYTES_FROM, Tokenizer
from .gguf import LIMITS, SPACE

FIELDS = {"dim": "hidden_size", "hidden_dim": "intermediate_size", "n_layers": "num_hidden_layers",
          "n_heads": "num_attention_heads", "n_kv_heads": "num_key_value_heads", "vocab_size": "vocab_size",
          "seq_len": "max_position_embeddings"}
LAYER_TENSORS = {
    "attention_norm": "input_layernorm", "wq": "self_attn.q_proj", "wk": "self_attn.k_proj", "wv": "self_attn.v_proj",
    "wo": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "w1": "mlp.gate_proj", "w2": "mlp.down_proj",
    "w3": "mlp.up_proj",
}
UNABLE = {"rope_scaling": None, "attention_bias": False, "mlp_bias": False, "hidden_act": "silu", "sliding_window": None}
"""Settings of a model, with the only value of each that Marey can do."""
JSON_LIMIT = 1 << 27
"""Bytes beyond which a JSON file is not read."""


def read(folder: Path) -> Llama:
    """The model in a folder. FormatError for one that is none, or that Marey cannot do."""
    config = _config(folder, _json(folder / "config.json"))
    tensors = _Tensors(folder)
    layers = [Layer(**{name: _layer_tensor(tensors, config, index, name, shape) for name, shape in shapes(config).items()})
              for index in range(config.n_layers)]
    table = (config.vocab_size, config.dim)
    embedding = tensors.get("model.embed_tokens", table)
    classifier = embedding if config.tied else tensors.get("lm_head", table)
    return Llama(config, embedding, layers, tensors.get("model.norm", (config.dim,)), classifier)


def read_tokenizer(path: Path, vocab_size: int) -> Tokenizer:
    """The vocabulary of a `tokenizer.json`: byte-pair encoding with byte fallback, as converted from SentencePiece."""
    model = _json(path).get("model")
    if not isinstance(model, dict) or model.get("type") != "BPE" or not model.get("byte_fallback"):
        raise FormatError(f"{path}: no byte-pair encoding with byte fallback, the only kind that Marey reads here: "
                          "name another with --tokenizer FILE")
    vocabulary, merges = model.get("vocab"), model.get("merges")
    if (not isinstance(vocabulary, dict) or not isinstance(merges, list)
            or sorted(value for value in vocabulary.values() if isinstance(value, int)) != list(range(vocab_size))):
        raise FormatError(f"{path}: its vocabulary is not the tokens 0 to {vocab_size - 1} of the model")
    if vocabulary.get("<0x00>") != BYTES_FROM or vocabulary.get("<0xFF>") != BYTES_FROM + 255:
        raise FormatError(f"{path}: its bytes are not the tokens {BYTES_FROM} to {BYTES_FROM + 255}")
    pieces = sorted(vocabulary, key=vocabulary.get)
    scores = [-float(len(merges))] * vocab_size
    for rank, merge in reversed(list(enumerate(merges))):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        merged = "".join(pair) if isinstance(pair, list) and all(isinstance(part, str) for part in pair) else None
        if merged not in vocabulary:
            raise FormatError(f"{path}: merge {rank} makes no token")
        scores[vocabulary[merged]] = -float(rank)
    return Tokenizer([piece.replace(SPACE, " ").encode() for piece in pieces], scores)


def split_halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of Q or K [heads * head_dim, dim] from neighbouring pairs to Hugging Face's order of two halves."""
    return weight.reshape(heads, -1, 2, weight.shape[-1]).swapaxes(1, 2).reshape(weight.shape)


def join_halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """The reverse of `split_halves`."""
    return weight.reshape(heads, 2, -1, weight.shape[-1]).swapaxes(1, 2).reshape(weight.shape)


class _Tensors:
    """The tensors of a folder's safetensors files, as float32."""

    def __init__(self, folder: Path):
        self._folder = folder
        index = folder / "model.safetensors.index.json"
        self._files = None
        if index.is_file():
            self._files = _json(index).get("weight_map")
            if not isinstance(self._files, dict):
                raise FormatError(f"{index}: it has no weight_map")

    def get(self, name, shape):
        name += ".weight"
        file = "model.safetensors" if self._files is None else self._files.get(name)
        if not isinstance(file, str) or Path(file).name != file:
            raise FormatError(f"{self._folder}: tensor {name} is in none of its files")
        path = self._folder / file
        try:
            with safe_open(path, "np") as tensors:
                if name not in tensors.keys():  # noqa: SIM118 (no dictionary)
                    raise FormatError(f"{path}: tensor {name} is missing")
                part = tensors.get_slice(name)
                found, kind = tuple(part.get_shape()), part.get_dtype()
                if found != shape:
                    raise FormatError(f"{path}: tensor {name} has shape {found}, expected {shape}")
                if kind not in ("F32", "F16", "BF16"):
                    raise FormatError(f"{path}: tensor {name} is of type {kind}, and Marey reads F32, F16 and BF16")
                values = tensors.get_tensor(name).astype(np.float32, copy=False)
        except (SafetensorError, OSError, ValueError, TypeError) as error:
            raise FormatError(f"{path}: damaged, or no safetensors file: {' '.join(str(error).split())}") from None
        if not np.isfinite(values).all():
            raise FormatError(f"{path}: tensor {name} has values that are NaN or infinite")
        return values


def _layer_tensor(tensors, config, index, name, shape):
    values = tensors.get(f"model.layers.{index}.{LAYER_TENSORS[name]}", shape)
    heads = {"wq": config.n_heads, "wk": config.n_kv_heads}.get(name)
    return values if heads is None else join_halves(values, heads)


def _config(folder, found):
    """The model's shape, from `config.json`, checked."""
    path = folder / "config.json"
    if found.get("model_type") != "llama":
        raise FormatError(f"{path}: model_type {found.get('model_type')!r}, and Marey reads 'llama'")
    for name, able in UNABLE.items():
        if found.get(name, able) != able:
            raise FormatError(f"{path}: {name} is {json.dumps(found[name])}, and Marey can do only {json.dumps(able)}")
    found = {"num_key_value_heads": found.get("num_attention_heads"), **found}
    values = {name: found.get(field) for name, field in FIELDS.items()}
    for name, value in values.items():
        if type(value) is not int or not 0 < value <= LIMITS[name]:
            raise FormatError(f"{path}: {FIELDS[name]} is {value!r}, expected 1 to {LIMITS[name]}")
    reals = {"rope_theta": found.get("rope_theta", 10000.0), "norm_eps": found.get("rms_norm_eps", 1e-6)}
    for name, value in reals.items():
        if not isinstance(value, (int, float)) or not 0 < value < 1e12:
            raise FormatError(f"{path}: {name} is {value!r}, expected a positive number")
    config = ModelConfig(**values, rope_theta=float(reals["rope_theta"]), norm_eps=float(reals["norm_eps"]),
                         tied=bool(found.get("tie_word_embeddings", False)))
    if config.dim % config.n_heads or config.head_dim % 2 or config.n_heads % config.n_kv_heads:
        raise FormatError(f"{path}: {config.dim} channels, {config.n_heads} heads, {config.n_kv_heads} KV heads do not divide")
    if found.get("head_dim", config.head_dim) != config.head_dim:
        raise FormatError(f"{path}: head_dim is {found['head_dim']}, and Marey can do only {config.head_dim} here")
    return config


def _json(path):
    """A JSON file's object."""
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    if path.stat().st_size > JSON_LIMIT:
        raise FormatError(f"{path}: {path.stat().st_size} bytes, too large to be what its name says")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise FormatError(f"{path}: damaged, or no JSON") from None
    if not isinstance(found, dict):
        raise FormatError(f"{path}: no JSON object")
    return found
