"""GGUF files of architecture `llama`, read and written with the library `gguf`.

Rows of Q and K lie as in llama2.c (rotary embedding turns neighbouring pairs). llama.cpp calls this
the NORM type, and its converters reorder Hugging Face's rows into it.
"""

from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_VERSION, GGMLQuantizationType, GGUFWriter, Keys, LlamaFileType, quants
from gguf.constants import MODEL_TENSOR, TENSOR_NAMES

from ...sim.files import new_content
from ..errors import FormatError
from ..model.config import ModelConfig
from ..model.families import weight_shapes
from ..model.model import Model
from ..text.tokenizer import Tokenizer
from . import gguf_tokenizer
from .checks import check_tensors, check_window, checked_config
from .gguf_file import MAGIC, TYPES, File

__all__ = ["MAGIC", "read", "read_shape", "read_tokenizer", "write"]

ARCHITECTURE = "llama"
BLOCK = 32
"""Values in a block of Q8_0 or Q4_0."""
LAYER_TENSORS = {
    "attention_norm": MODEL_TENSOR.ATTN_NORM, "wq": MODEL_TENSOR.ATTN_Q, "wk": MODEL_TENSOR.ATTN_K,
    "wv": MODEL_TENSOR.ATTN_V, "wo": MODEL_TENSOR.ATTN_OUT, "ffn_norm": MODEL_TENSOR.FFN_NORM,
    "w1": MODEL_TENSOR.FFN_GATE, "w2": MODEL_TENSOR.FFN_DOWN, "w3": MODEL_TENSOR.FFN_UP,
}
MODEL_TENSORS = {"embedding": MODEL_TENSOR.TOKEN_EMBD, "final_norm": MODEL_TENSOR.OUTPUT_NORM,
                 "classifier": MODEL_TENSOR.OUTPUT}
KEYS = {
    "dim": Keys.LLM.EMBEDDING_LENGTH, "hidden_dim": Keys.LLM.FEED_FORWARD_LENGTH,
    "n_layers": Keys.LLM.BLOCK_COUNT, "n_heads": Keys.Attention.HEAD_COUNT,
    "n_kv_heads": Keys.Attention.HEAD_COUNT_KV, "seq_len": Keys.LLM.CONTEXT_LENGTH,
    "vocab_size": Keys.LLM.VOCAB_SIZE, "rope_theta": Keys.Rope.FREQ_BASE,
    "norm_eps": Keys.Attention.LAYERNORM_RMS_EPS,
}
ROTARY = (Keys.Rope.DIMENSION_COUNT, Keys.Attention.KEY_LENGTH, Keys.Attention.VALUE_LENGTH)
"""Keys whose only possible value is the number of channels of a head."""
UNABLE = {Keys.Rope.SCALING_TYPE: "none", "{arch}.rope.scale_linear": 1.0, Keys.LLM.EXPERT_COUNT: 0,
          Keys.LLM.EXPERT_USED_COUNT: 0, Keys.Split.LLM_KV_SPLIT_COUNT: 1}
"""Settings of a model, each with the only value that Marey can do."""
WINDOW = Keys.Attention.SLIDING_WINDOW


def read(path: Path) -> Model:
    """The model in a GGUF file. FormatError for a file that is damaged, or a model that Marey
    cannot do.
    """
    file = File(path, ARCHITECTURE)
    config = _config(file)
    if not file.headers():
        raise FormatError(f"{path}: it has a header and no tensors: its weights are missing")
    _check_headers(file, config)
    return Model(config, {name: file.tensor(tensor_name(name)) for name in weight_shapes(config)})


def read_shape(path: Path) -> ModelConfig:
    """The shape of the model in a GGUF file, from its header. A file may have a header and no
    tensors at all.

    FormatError for every model that `read` refuses without a look at its weights' values.
    """
    file = File(path, ARCHITECTURE)
    config = _config(file)
    if file.headers():
        _check_headers(file, config)
    return config


def read_tokenizer(path: Path, vocab_size: int) -> Tokenizer:
    """The tokenizer in a GGUF file's metadata. FormatError for a kind that Marey cannot make, or
    another model's.
    """
    return gguf_tokenizer.read(File(path, ARCHITECTURE), vocab_size)


def write(path: Path, model: Model, tokenizer: Tokenizer, dtype: str = "F32") -> None:
    """Writes model and tokenizer, matrices as "F32", "Q8_0" or "Q4_0".

    A matrix whose rows are no multiple of 32 values, and every vector, is written as F32.
    FormatError for a model or a tokenizer that the format has no place for.
    """
    config = model.config
    if config.family != ARCHITECTURE:
        raise FormatError(f"{path}: Marey writes GGUF files of the family {ARCHITECTURE} only, not "
                          f"{config.family}: write a folder")
    with new_content(path) as temporary:
        writer = GGUFWriter(temporary, ARCHITECTURE)
        try:
            _fill(writer, path, model, tokenizer, dtype)
        finally:
            writer.close()


def _fill(writer, path, model, tokenizer, dtype):
    """Writes all of a GGUF file; `path` is what messages call it."""
    config = model.config
    writer.add_file_type({"F32": LlamaFileType.ALL_F32, "Q8_0": LlamaFileType.MOSTLY_Q8_0,
                          "Q4_0": LlamaFileType.MOSTLY_Q4_0}[dtype])
    writer.add_quantization_version(GGML_QUANT_VERSION)
    writer.add_context_length(config.seq_len)
    writer.add_embedding_length(config.dim)
    writer.add_block_count(config.n_layers)
    writer.add_feed_forward_length(config.hidden_dim)
    writer.add_head_count(config.n_heads)
    writer.add_head_count_kv(config.n_kv_heads)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    gguf_tokenizer.write(writer, path, tokenizer, config)

    encode = {"F32": None, "Q8_0": _q8_0, "Q4_0": _q4_0}[dtype]

    for name in weight_shapes(config):
        values = np.ascontiguousarray(model[name], np.float32)
        if encode and values.ndim == 2 and values.shape[1] % BLOCK == 0:
            writer.add_tensor(tensor_name(name), encode(values), raw_dtype=GGMLQuantizationType[dtype])
        else:
            writer.add_tensor(tensor_name(name), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()


def tensor_name(weight: str) -> str:
    """The name of the tensor that holds a weight."""
    if weight.startswith("layers."):
        _, layer, kind = weight.split(".")
        return TENSOR_NAMES[LAYER_TENSORS[kind]].format(bid=layer) + ".weight"
    return TENSOR_NAMES[MODEL_TENSORS[weight]] + ".weight"


def _q8_0(values: np.ndarray) -> np.ndarray:
    """Float32 values as blocks of Q8_0, by the library."""
    return quants.quantize(values, GGMLQuantizationType.Q8_0)


def _q4_0(values: np.ndarray) -> np.ndarray:
    """Float32 values [.., n * 32] as blocks of Q4_0, bytes [.., n * 18].

    A block is a 16-bit float d, then 32 values of 4 bits that mean (value - 8) * d, the first 16 in
    the low halves. Eight steps d are tried, which make the block's largest value -8, -7, .. or -1
    steps, and the one with the least squared error is taken. So values that lie on such a grid stay
    as they are. The library's own encoder tries -8 only.
    """
    blocks = values.reshape(-1, BLOCK)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, None], axis=1)
    step, least = np.zeros(largest.shape, np.float16), np.full(largest.shape, np.inf)
    whole = np.zeros_like(blocks)
    for count in range(-8, 0):
        trial = (largest / count).astype(np.float16)
        exact = trial.astype(np.float32)
        rounded = np.clip(np.rint(blocks / np.where(exact == 0, 1, exact)), -8, 7)
        error = np.square(rounded * exact - blocks).sum(axis=1, keepdims=True)
        better = error < least
        step, whole = np.where(better, trial, step), np.where(better, rounded, whole)
        least = np.minimum(error, least)
    nibbles = (whole + 8).astype(np.uint8)
    packed = nibbles[:, :BLOCK // 2] | nibbles[:, BLOCK // 2:] << 4
    content = np.concatenate([np.ascontiguousarray(step).view(np.uint8), packed], axis=1)
    return content.reshape(*values.shape[:-1], -1)


def _check_headers(file: File, config: ModelConfig) -> None:
    """FormatError if the tensors in the header are not those that the model needs."""
    expected = {tensor_name(name): shape for name, shape in weight_shapes(config).items()}
    check_tensors(str(file.path), expected, file.headers(), TYPES)


def _config(file: File) -> ModelConfig:
    """The model's shape, from the metadata. FormatError for one that is damaged, or that Marey
    cannot do.
    """
    architecture = file.get(Keys.General.ARCHITECTURE)
    if architecture != ARCHITECTURE:
        raise FormatError(f"{file.path}: architecture {str(architecture)[:80]!r}, and Marey reads "
                          f"{ARCHITECTURE!r}")
    file.check_keys((*KEYS.values(), *ROTARY, *UNABLE, WINDOW))
    for key, able in UNABLE.items():
        if (found := file.get(key, able)) != able:
            raise FormatError(f"{file.path}: {file.key(key)} is {str(found)[:80]!r}, and Marey can do only "
                              f"{able!r}")
    defaults = {"n_kv_heads": file.get(KEYS["n_heads"]), "rope_theta": 10000.0}
    values = {name: file.get(key, defaults.get(name)) for name, key in KEYS.items() if name != "vocab_size"}
    for name in ("rope_theta", "norm_eps"):
        if isinstance(values[name], float):
            # Metadata are float32, so 1e-5 is found as 9.9999997e-06.
            values[name] = float(f"{values[name]:.7g}")
    tied = tensor_name("classifier") not in file.headers()
    config = checked_config(f"{file.path}: its metadata", **values, tied=tied, **gguf_tokenizer.facts(file))
    check_window(f"{file.path}: {file.key(WINDOW)}", file.get(WINDOW, config.seq_len), config.seq_len)
    for key in ROTARY:
        if (found := file.get(key, config.head_dim)) != config.head_dim:
            raise FormatError(f"{file.path}: {file.key(key)} is {str(found)[:80]}, and Marey can do only the "
                              f"{config.head_dim} channels of a head")
    return config
