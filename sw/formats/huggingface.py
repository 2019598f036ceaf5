"""Hugging Face folders: `config.json`, `model.safetensors` (or shards with an index), `tokenizer.json`; Llama shapes.

Rows of Q and K lie there with the two halves of each head turning together; here they are put back into neighbouring
pairs, as llama.cpp's converters do. Weights are read tensor by tensor, from a mapped file.
"""

import json
import re
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..errors import FormatError
from ..model.config import ModelConfig
from ..model.families import weight_shapes
from ..model.model import Model
from ..text.tokenizer import JSON_LIMIT, Tokenizer
from .checks import checked_config, finite
from .vocabulary import check_fits

FIELDS = {"dim": "hidden_size", "hidden_dim": "intermediate_size", "n_layers": "num_hidden_layers",
          "n_heads": "num_attention_heads", "n_kv_heads": "num_key_value_heads", "vocab_size": "vocab_size",
          "seq_len": "max_position_embeddings"}
LAYER_TENSORS = {
    "attention_norm": "input_layernorm", "wq": "self_attn.q_proj", "wk": "self_attn.k_proj", "wv": "self_attn.v_proj",
    "wo": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "w1": "mlp.gate_proj", "w2": "mlp.down_proj",
    "w3": "mlp.up_proj",
}
MODEL_TENSORS = {"embedding": "model.embed_tokens.weight", "final_norm": "model.norm.weight", "classifier": "lm_head.weight"}
UNREAD = re.compile(r".*\.rotary_emb\.inv_freq")
"""Tensors of older folders that follow from `config.json`."""
UNABLE = {"attention_bias": False, "mlp_bias": False, "hidden_act": "silu", "sliding_window": None,
          "use_sliding_window": False, "partial_rotary_factor": 1.0, "quantization_config": None, "no_rope_layers": None}
"""Settings of a model, with the only value of each that Marey can do."""
CONFIG_LIMIT, INDEX_LIMIT = 1 << 20, 1 << 24
"""Bytes beyond which a JSON file is not read."""
SHARD = 1 << 30
"""Bytes of a file of weights to write, beyond which there are several: what is written is in memory twice."""


def read(folder: Path) -> Model:
    """The model in a folder. FormatError for one that is none, or that Marey cannot do."""
    config = read_shape(folder)
    tensors = _Tensors(folder)
    weights = {name: _weight(tensors, config, name, shape) for name, shape in weight_shapes(config).items()}
    tensors.check_all_read(MODEL_TENSORS["classifier"])
    return Model(config, weights)


def read_tokenizer(path: Path, vocab_size: int) -> Tokenizer:
    """A `tokenizer.json`, by the library. FormatError for a kind that Marey cannot stream, or another model's."""
    if not path.is_file():
        sentencepiece = path.with_name("tokenizer.model").is_file()
        raise FormatError(f"{path}: no such file" + ", and Marey reads no tokenizer.model: convert it" * sentencepiece)
    if path.stat().st_size > JSON_LIMIT:
        raise FormatError(f"{path}: {path.stat().st_size} bytes, too large to be what its name says")
    try:
        return check_fits(Tokenizer.from_json(path.read_text(encoding="utf-8")), vocab_size)
    except UnicodeDecodeError:
        raise FormatError(f"{path}: damaged, or no JSON") from None
    except FormatError as error:
        raise FormatError(f"{path}: {error}; or name another with --tokenizer FILE") from None


def write(folder: Path, model: Model, tokenizer: Tokenizer) -> None:
    """Writes a folder, made if need be: float32 weights, config.json, tokenizer.json."""
    config = model.config
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float32", "hidden_act": "silu",
        **{field: getattr(config, name) for name, field in FIELDS.items()}, "rope_theta": config.rope_theta,
        "rms_norm_eps": config.norm_eps, "tie_word_embeddings": config.tied, "bos_token_id": config.bos,
        "eos_token_id": config.eos[0] if len(config.eos) == 1 else list(config.eos),
    }
    (folder / "config.json").write_text(json.dumps(about, indent=2) + "\n")
    (folder / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
    shards, room = [{}], SHARD
    for name, values in _named(model):
        room -= 4 * values.size
        if room < 0 and shards[-1]:
            shards.append({})
            room = SHARD - 4 * values.size
        shards[-1][name] = values
    files = ["model.safetensors"] if len(shards) == 1 else [
        f"model-{number:05}-of-{len(shards):05}.safetensors" for number in range(1, len(shards) + 1)]
    for old in (*folder.glob("model*.safetensors"), folder / "model.safetensors.index.json"):
        old.unlink(missing_ok=True)
    for file, shard in zip(files, shards, strict=True):
        save_file({name: np.ascontiguousarray(values, np.float32) for name, values in shard.items()}, folder / file,
                  metadata={"format": "pt"})
    if len(shards) > 1:
        where = {name: file for file, shard in zip(files, shards, strict=True) for name in shard}
        size = sum(4 * values.size for shard in shards for values in shard.values())
        (folder / "model.safetensors.index.json").write_text(
            json.dumps({"metadata": {"total_size": size}, "weight_map": where}, indent=2) + "\n")


def split_halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of Q or K [heads * head_dim, dim] from neighbouring pairs to Hugging Face's order of two halves; a copy."""
    return weight.reshape(heads, -1, 2, weight.shape[-1]).swapaxes(1, 2).reshape(weight.shape)


def join_halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """The reverse of `split_halves`."""
    return weight.reshape(heads, 2, -1, weight.shape[-1]).swapaxes(1, 2).reshape(weight.shape)


def _tensor(config, name):
    """The tensor that holds a weight; and the heads of its rows, where rotary embedding turns them, else None."""
    if name in MODEL_TENSORS:
        return MODEL_TENSORS[name], None
    _, layer, name = name.split(".")
    heads = {"wq": config.n_heads, "wk": config.n_kv_heads}.get(name)
    return f"model.layers.{layer}.{LAYER_TENSORS[name]}.weight", heads


def _named(model):
    """Weights by Hugging Face's names."""
    for name in weight_shapes(model.config):
        tensor, heads = _tensor(model.config, name)
        yield tensor, model[name] if heads is None else split_halves(model[name], heads)


class _Tensors:
    """The tensors of a folder's safetensors files, as float32."""

    def __init__(self, folder: Path):
        self._folder, self._read = folder, set()
        index = folder / "model.safetensors.index.json"
        if index.is_file():
            self._files = _json(index, INDEX_LIMIT).get("weight_map")
            if not isinstance(self._files, dict) or not all(
                    isinstance(file, str) and Path(file).name == file and len(file) < 256 for file in self._files.values()):
                raise FormatError(f"{index}: its weight_map does not name files of this folder")
        else:
            self._files = dict.fromkeys(self._open("model.safetensors", lambda file: file.keys()), "model.safetensors")

    def get(self, name, shape):
        if name not in self._files:
            raise FormatError(f"{self._folder}: tensor {name} is missing from its files")
        path = self._folder / self._files[name]

        def load(file):
            part = file.get_slice(name)
            found, kind = tuple(part.get_shape()), part.get_dtype()
            if found != shape:
                raise FormatError(f"{path}: tensor {name} has shape {found}, expected {shape}")
            if kind not in ("F32", "F16", "BF16"):
                raise FormatError(f"{path}: tensor {name} is of type {kind}, and Marey reads F32, F16 and BF16")
            return file.get_tensor(name).astype(np.float32, copy=False)

        self._read.add(name)
        return finite(f"{path}: tensor {name}", self._open(self._files[name], load))

    def check_all_read(self, *but):
        """FormatError if there are tensors that nothing has asked for: the model is another than it seems."""
        for name in self._files.keys() - self._read - set(but):
            if not UNREAD.fullmatch(name):
                raise FormatError(f"{self._folder}: it has a tensor {name[:80]}, which no Llama that Marey can do has")

    def _open(self, name, use):
        path = self._folder / name
        try:
            with safe_open(path, "np") as file:
                return use(file)
        except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
            raise FormatError(f"{path}: damaged, or no safetensors file: {' '.join(str(error).split())[:200]}") from None


def _weight(tensors, config, name, shape):
    tensor, heads = _tensor(config, name)
    values = tensors.get(tensor, shape)
    return values if heads is None else join_halves(values, heads)


def read_shape(folder: Path) -> ModelConfig:
    """The shape of the model in a folder, from its `config.json`. FormatError for one that Marey cannot do."""
    path = folder / "config.json"
    found = _json(path, CONFIG_LIMIT)
    if found.get("model_type") != "llama":
        raise FormatError(f"{path}: model_type {json.dumps(found.get('model_type'))[:80]}, and Marey reads \"llama\"")
    for name, able in UNABLE.items():
        if found.get(name, able) != able:
            raise FormatError(f"{path}: {name} is {json.dumps(found[name])[:80]}, and Marey can do only {json.dumps(able)}")
    found = {"num_key_value_heads": found.get("num_attention_heads"), **found}
    eos = found.get("eos_token_id", 2)
    eos = tuple(eos) if isinstance(eos, list) else () if eos is None else (eos,)
    bos = found.get("bos_token_id", 1)
    tied = found.get("tie_word_embeddings", False)
    if not isinstance(tied, bool):
        raise FormatError(f"{path}: tie_word_embeddings is {json.dumps(tied)[:80]}, expected true or false")
    config = checked_config(
        f"{path}:", FIELDS, **{name: found.get(field) for name, field in FIELDS.items()}, rope_theta=_theta(path, found),
        norm_eps=found.get("rms_norm_eps", 1e-6), tied=tied, bos=eos[0] if bos is None and eos else bos, eos=eos)
    if found.get("head_dim") not in (None, config.head_dim):
        raise FormatError(f"{path}: head_dim is {json.dumps(found['head_dim'])[:80]}, and Marey can do only "
                          f"{config.head_dim} here")
    return config


def _theta(path, found):
    """The base of rotary embedding, where older and newer folders have it."""
    scaling = found.get("rope_parameters") or found.get("rope_scaling") or {}
    if not isinstance(scaling, dict) or scaling.get("rope_type", scaling.get("type", "default")) != "default":
        raise FormatError(f"{path}: rope_scaling is {json.dumps(scaling)[:80]}, and Marey can do only null")
    return scaling.get("rope_theta", found.get("rope_theta", 10000.0))


def _json(path, limit):
    """A JSON file's object."""
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    if path.stat().st_size > limit:
        raise FormatError(f"{path}: {path.stat().st_size} bytes, too large to be what its name says")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise FormatError(f"{path}: damaged, or no JSON") from None
    if not isinstance(found, dict):
        raise FormatError(f"{path}: no JSON object")
    return found
