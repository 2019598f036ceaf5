"""GGUF files, architecture `llama`: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, read and written by `gguf`.

Rows of Q and K lie as in llama2.c (neighbouring pairs turn together), which is what llama.cpp calls the NORM type of
rotary embedding and what its converters make of Hugging Face's split halves.
"""

import struct
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_VERSION, GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, Keys, LlamaFileType, quants
from gguf.constants import MODEL_TENSOR, TENSOR_NAMES

from ..errors import FormatError
from ..model.config import ModelConfig
from ..model.families import weight_shapes
from ..model.model import Model
from ..text.tokenizer import Tokenizer
from . import gguf_tokenizer
from .checks import checked_config, finite

MAGIC = b"GGUF"
ARCHITECTURE = "llama"
BLOCK = 32
"""Values in a block of Q8_0 and Q4_0."""
LAYER_TENSORS = {
    "attention_norm": MODEL_TENSOR.ATTN_NORM, "wq": MODEL_TENSOR.ATTN_Q, "wk": MODEL_TENSOR.ATTN_K,
    "wv": MODEL_TENSOR.ATTN_V, "wo": MODEL_TENSOR.ATTN_OUT, "ffn_norm": MODEL_TENSOR.FFN_NORM,
    "w1": MODEL_TENSOR.FFN_GATE, "w2": MODEL_TENSOR.FFN_DOWN, "w3": MODEL_TENSOR.FFN_UP,
}
MODEL_TENSORS = {"embedding": MODEL_TENSOR.TOKEN_EMBD, "final_norm": MODEL_TENSOR.OUTPUT_NORM,
                 "classifier": MODEL_TENSOR.OUTPUT}
KEYS = {
    "dim": Keys.LLM.EMBEDDING_LENGTH, "hidden_dim": Keys.LLM.FEED_FORWARD_LENGTH, "n_layers": Keys.LLM.BLOCK_COUNT,
    "n_heads": Keys.Attention.HEAD_COUNT, "n_kv_heads": Keys.Attention.HEAD_COUNT_KV, "seq_len": Keys.LLM.CONTEXT_LENGTH,
    "vocab_size": Keys.LLM.VOCAB_SIZE, "rope_theta": Keys.Rope.FREQ_BASE, "norm_eps": Keys.Attention.LAYERNORM_RMS_EPS,
}
ROTARY = (Keys.Rope.DIMENSION_COUNT, Keys.Attention.KEY_LENGTH, Keys.Attention.VALUE_LENGTH)
"""Keys that can have but one value here: the channels of a head."""
UNABLE = {Keys.Rope.SCALING_TYPE: "none", "{arch}.rope.scale_linear": 1.0, Keys.LLM.EXPERT_COUNT: 0,
          Keys.LLM.EXPERT_USED_COUNT: 0, Keys.Split.LLM_KV_SPLIT_COUNT: 1}
"""Settings of a model, with the only value of each that Marey can do."""
MOST = {"keys": 1 << 12, "tensors": 1 << 14, "values": 1 << 21}
"""Counts in a header beyond which it is taken to be damaged; the library makes objects of each."""
DAMAGE = (ValueError, KeyError, IndexError, TypeError, OverflowError, RecursionError, struct.error, UnicodeDecodeError)
"""What the library raises for a file that is damaged."""


class _Reader(GGUFReader):
    """The library's reader, which does not look beyond the end of the file, or make objects of what a damaged count says."""

    def _get(self, offset, dtype, count=1, override_order=None):
        if isinstance(self.data, np.memmap):
            self.data = self.data.view(np.ndarray)  # of which slices are smaller and faster
        if offset + np.dtype(dtype).itemsize * int(count) > len(self.data):
            raise ValueError("it ends before what its header says")
        return super()._get(offset, dtype, count, override_order)

    def _build_fields(self, offs, count):
        self._values = 0
        self._limit("keys", count)
        return super()._build_fields(offs, count)

    def _build_tensor_info(self, offs, count):
        self._limit("tensors", count)
        return super()._build_tensor_info(offs, count)

    def _get_field_parts(self, orig_offs, raw_type):
        if raw_type == GGUFValueType.ARRAY:
            self._values += int(self._get(orig_offs + 4, np.uint64)[0])
            self._limit("values", self._values)
        return super()._get_field_parts(orig_offs, raw_type)

    def _limit(self, what, count):
        if count > MOST[what]:
            raise ValueError(f"its header says {count} {what}, expected {MOST[what]} at most")


class File:
    """A GGUF file's metadata and tensors, by name. FormatError for what is missing or of the wrong shape."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self._reader = _Reader(path)
            self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}
        except DAMAGE as error:
            raise FormatError(f"{path}: damaged, or no GGUF file: {' '.join(str(error).split())[:200]}") from None
        self._read = set()

    def get(self, key, default=None):
        """A metadata value; the default if there is none, or FormatError without one."""
        key = key.format(arch=ARCHITECTURE)
        field = self._reader.get_field(key)
        if field is None and default is None:
            raise FormatError(f"{self.path}: its metadata have no {key}")
        try:
            return default if field is None else field.contents()
        except DAMAGE:
            raise FormatError(f"{self.path}: its metadata are damaged at {key}") from None

    def get_list(self, key, kind, default=None):
        """A metadata array of one type; FormatError if it is anything else."""
        found = self.get(key, default)
        if not isinstance(found, list) or not all(isinstance(value, kind) for value in found):
            raise FormatError(f"{self.path}: its metadata are damaged at {key}, expected a list")
        return found

    def has(self, kind):
        return TENSOR_NAMES[kind] + ".weight" in self._tensors

    def check_keys(self, known):
        """FormatError if the metadata say more of the architecture than is known."""
        known = {key.format(arch=ARCHITECTURE) for key in known}
        for key in self._reader.fields:
            if key.startswith(f"{ARCHITECTURE}.") and key not in known:
                raise FormatError(f"{self.path}: its metadata have {key[:80]}, which Marey cannot do")

    def check_all_read(self):
        """FormatError if there are tensors that nothing has asked for: the model is another than it seems."""
        if unread := self._tensors.keys() - self._read:
            raise FormatError(f"{self.path}: it has a tensor {min(unread)[:80]}, which no Llama that Marey can do has")

    def tensor(self, kind, layer, shape):
        """A tensor as float32, dequantised if need be; of what is float32, a view of the file."""
        name = TENSOR_NAMES[kind].format(bid=layer) + ".weight"
        tensor = self._tensors.get(name)
        if tensor is None:
            raise FormatError(f"{self.path}: tensor {name} is missing")
        self._read.add(name)
        found = tuple(int(size) for size in reversed(tensor.shape))
        if found != shape:
            raise FormatError(f"{self.path}: tensor {name} has shape {found}, expected {shape}")
        try:
            with np.errstate(all="ignore"):  # of damaged scales, whose values are refused below
                if tensor.tensor_type == GGMLQuantizationType.F32:
                    values = np.asarray(tensor.data, np.float32)
                else:
                    values = quants.dequantize(tensor.data, tensor.tensor_type)
        except (NotImplementedError, *DAMAGE):
            raise FormatError(f"{self.path}: tensor {name} is of type {tensor.tensor_type.name}, which the gguf library "
                              "cannot turn into float32") from None
        return finite(f"{self.path}: tensor {name}", values.reshape(shape))


def read(path: Path) -> Model:
    """The model in a GGUF file. FormatError for anything that is none, or another architecture."""
    file = File(path)
    config = _config(file)
    weights = {name: file.tensor(*_tensor(name), shape) for name, shape in weight_shapes(config).items()}
    file.check_all_read()
    return Model(config, weights)


def read_shape(path: Path) -> ModelConfig:
    """The shape of the model in a GGUF file, whose tensors need not be there. FormatError as of `read`."""
    return _config(File(path))


def read_tokenizer(path: Path, vocab_size: int) -> Tokenizer:
    """The tokenizer in a GGUF file's metadata. FormatError for a kind that Marey cannot make, or another model's."""
    return gguf_tokenizer.read(File(path), vocab_size)


def write(path: Path, model: Model, tokenizer: Tokenizer, dtype: str = "F32") -> None:
    """Writes model and tokenizer; matrices as F32, Q8_0 or Q4_0, but as F32 those whose rows are no multiple of 32.

    FormatError for a tokenizer that the format has no place for.
    """
    config = model.config
    writer = GGUFWriter(path, ARCHITECTURE)
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

    encode = {"F32": None, "Q8_0": lambda values: quants.quantize(values, GGMLQuantizationType.Q8_0), "Q4_0": _q4_0}[dtype]

    def add(tensor, values, layer=None):
        name = TENSOR_NAMES[tensor].format(bid=layer) + ".weight"
        values = np.ascontiguousarray(values, np.float32)
        if encode and values.ndim == 2 and values.shape[1] % BLOCK == 0:
            writer.add_tensor(name, encode(values), raw_dtype=GGMLQuantizationType[dtype])
        else:
            writer.add_tensor(name, values)

    for name in weight_shapes(config):
        kind, layer = _tensor(name)
        add(kind, model[name], layer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensor(name):
    """The kind of tensor that holds a weight, and its layer, or None for a weight outside the layers."""
    if name.startswith("layers."):
        _, layer, name = name.split(".")
        return LAYER_TENSORS[name], int(layer)
    return MODEL_TENSORS[name], None


def _q4_0(values):
    """Blocks of Q4_0: a 16-bit float d, then 32 values of 4 bits that mean (value - 8) * d, the first 16 in the low halves.

    Of the steps that make a block's largest value a whole number of steps the best is taken, so that what lies on such a
    grid stays as it is; the library's own encoder always makes the largest -8.
    """
    blocks = values.reshape(-1, BLOCK)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, None], axis=1)
    step, whole, least = np.zeros(largest.shape, np.float16), np.zeros_like(blocks), np.full(largest.shape, np.inf)
    for count in range(-8, 0):
        trial = (largest / count).astype(np.float16)
        exact = trial.astype(np.float32)
        rounded = np.clip(np.rint(blocks / np.where(exact == 0, 1, exact)), -8, 7)
        error = np.square(rounded * exact - blocks).sum(axis=1, keepdims=True)
        better = error < least
        step, whole, least = np.where(better, trial, step), np.where(better, rounded, whole), np.minimum(error, least)
    nibbles = (whole + 8).astype(np.uint8)
    packed = nibbles[:, :BLOCK // 2] | nibbles[:, BLOCK // 2:] << 4
    return np.concatenate([np.ascontiguousarray(step).view(np.uint8), packed], axis=1).reshape(*values.shape[:-1], -1)


def _config(file):
    """The model's shape, from the metadata, checked."""
    architecture = file.get(Keys.General.ARCHITECTURE)
    if architecture != ARCHITECTURE:
        raise FormatError(f"{file.path}: architecture {str(architecture)[:80]!r}, and Marey reads {ARCHITECTURE!r}")
    file.check_keys((*KEYS.values(), *ROTARY, *UNABLE))
    for key, able in UNABLE.items():
        if (found := file.get(key, able)) != able:
            raise FormatError(f"{file.path}: {key.format(arch=ARCHITECTURE)} is {str(found)[:80]!r}, and Marey can do only "
                              f"{able!r}")
    defaults = {"n_kv_heads": file.get(KEYS["n_heads"]), "rope_theta": 10000.0}
    values = {name: file.get(key, defaults.get(name)) for name, key in KEYS.items() if name != "vocab_size"}
    for name in ("rope_theta", "norm_eps"):
        if isinstance(values[name], float):
            # Metadata are float32: 1e-5 is meant where 9.9999997e-06 is found.
            values[name] = float(f"{values[name]:.7g}")
    config = checked_config(f"{file.path}: its metadata", **values, tied=not file.has(MODEL_TENSOR.OUTPUT),
                            **gguf_tokenizer.facts(file))
    for key in ROTARY:
        if (found := file.get(key, config.head_dim)) != config.head_dim:
            raise FormatError(f"{file.path}: {key.format(arch=ARCHITECTURE)} is {str(found)[:80]}, and Marey can do only the "
                              f"{config.head_dim} channels of a head")
    return config
