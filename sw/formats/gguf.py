"""GGUF files, architecture `llama`: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, read and written by `gguf`.

Rows of Q and K lie as in llama2.c (neighbouring pairs turn together), which is what llama.cpp calls the NORM type of
rotary embedding and what its converters make of Hugging Face's split halves.
"""

import struct
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, Keys, TokenType, quants
from gguf.constants import MODEL_TENSOR, TENSOR_NAMES

from ..errors import FormatError
from ..model import Layer, Llama, ModelConfig, shapes
from ..sampling import BOS, EOS
from ..tokenizer import BYTES_FROM, Tokenizer

MAGIC = b"GGUF"
ARCHITECTURE = "llama"
SPACE = "▁"
"""How SentencePiece spells a space."""
BLOCK = 32
"""Values in a block of Q8_0 and Q4_0."""
LAYER_TENSORS = {
    "attention_norm": MODEL_TENSOR.ATTN_NORM, "wq": MODEL_TENSOR.ATTN_Q, "wk": MODEL_TENSOR.ATTN_K,
    "wv": MODEL_TENSOR.ATTN_V, "wo": MODEL_TENSOR.ATTN_OUT, "ffn_norm": MODEL_TENSOR.FFN_NORM,
    "w1": MODEL_TENSOR.FFN_GATE, "w2": MODEL_TENSOR.FFN_DOWN, "w3": MODEL_TENSOR.FFN_UP,
}
LIMITS = {"dim": 1 << 16, "hidden_dim": 1 << 18, "n_layers": 512, "n_heads": 1024, "n_kv_heads": 1024,
          "seq_len": 1 << 24, "vocab_size": 1 << 20}
"""Dimensions beyond which a header is taken to be damaged."""
DAMAGE = (ValueError, KeyError, IndexError, TypeError, OverflowError, struct.error, UnicodeDecodeError)
"""What the library raises for a file that is damaged."""


class _Reader(GGUFReader):
    """The library's reader, which does not look beyond the end of the file: a damaged count would have it run on."""

    def _get(self, offset, dtype, count=1, override_order=None):
        if offset + np.dtype(dtype).itemsize * int(count) > len(self.data):
            raise ValueError("it ends before what its header says")
        return super()._get(offset, dtype, count, override_order)


class _File:
    """A GGUF file's metadata and tensors, by name. FormatError for what is missing or of the wrong shape."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self._reader = _Reader(path)
            self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}
        except DAMAGE as error:
            raise FormatError(f"{path}: damaged, or no GGUF file: {' '.join(str(error).split())}") from None

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

    def has(self, kind):
        return TENSOR_NAMES[kind] + ".weight" in self._tensors

    def tensor(self, kind, shape, layer=None):
        """A tensor as float32, dequantised if need be; of what is float32, a view of the file."""
        name = TENSOR_NAMES[kind].format(bid=layer) + ".weight"
        tensor = self._tensors.get(name)
        if tensor is None:
            raise FormatError(f"{self.path}: tensor {name} is missing")
        found = tuple(int(size) for size in reversed(tensor.shape))
        if found != shape:
            raise FormatError(f"{self.path}: tensor {name} has shape {found}, expected {shape}")
        try:
            if tensor.tensor_type == GGMLQuantizationType.F32:
                values = tensor.data
            else:
                values = quants.dequantize(tensor.data, tensor.tensor_type)
        except (NotImplementedError, *DAMAGE):
            raise FormatError(f"{self.path}: tensor {name} is of type {tensor.tensor_type.name}, which the gguf library "
                              "cannot turn into float32") from None
        if not np.isfinite(values).all():
            raise FormatError(f"{self.path}: tensor {name} has values that are NaN or infinite")
        return values.reshape(shape)


def read(path: Path) -> Llama:
    """The model in a GGUF file. FormatError for anything that is none, or another architecture."""
    file = _File(path)
    architecture = file.get(Keys.General.ARCHITECTURE)
    if architecture != ARCHITECTURE:
        raise FormatError(f"{path}: architecture {architecture!r}, and Marey reads {ARCHITECTURE!r}")
    config = _config(file)
    layers = [Layer(**{name: file.tensor(LAYER_TENSORS[name], shape, index) for name, shape in shapes(config).items()})
              for index in range(config.n_layers)]
    table = (config.vocab_size, config.dim)
    embedding = file.tensor(MODEL_TENSOR.TOKEN_EMBD, table)
    classifier = embedding if config.tied else file.tensor(MODEL_TENSOR.OUTPUT, table)
    return Llama(config, embedding, layers, file.tensor(MODEL_TENSOR.OUTPUT_NORM, (config.dim,)), classifier)


def read_tokenizer(path: Path, vocab_size: int) -> Tokenizer:
    """The SentencePiece vocabulary in a GGUF file's metadata. FormatError for another kind."""
    file = _File(path)
    kind = file.get(Keys.Tokenizer.MODEL)
    if kind != "llama":
        raise FormatError(f"{path}: its tokenizer is of kind {kind!r}, and Marey reads 'llama' (SentencePiece): "
                          "name another with --tokenizer FILE")
    pieces, scores = file.get(Keys.Tokenizer.LIST), file.get(Keys.Tokenizer.SCORES)
    if len(pieces) != vocab_size or len(scores) != vocab_size:
        raise FormatError(f"{path}: {len(pieces)} pieces and {len(scores)} scores for a vocabulary of {vocab_size}")
    return Tokenizer([str(piece).replace(SPACE, " ").encode() for piece in pieces], [float(score) for score in scores])


def write(path: Path, model: Llama, tokenizer: Tokenizer, dtype: str = "F32") -> None:
    """Writes model and tokenizer; matrices as F32, Q8_0 or Q4_0, but as F32 those whose rows are no multiple of 32."""
    config = model.config
    writer = GGUFWriter(path, ARCHITECTURE)
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
    _write_tokenizer(writer, tokenizer)

    encode = {"F32": None, "Q8_0": lambda values: quants.quantize(values, GGMLQuantizationType.Q8_0), "Q4_0": _q4_0}[dtype]

    def add(tensor, values, layer=None):
        name = TENSOR_NAMES[tensor].format(bid=layer) + ".weight"
        values = np.ascontiguousarray(values, np.float32)
        if encode and values.ndim == 2 and values.shape[1] % BLOCK == 0:
            writer.add_tensor(name, encode(values), raw_dtype=GGMLQuantizationType[dtype])
        else:
            writer.add_tensor(name, values)

    add(MODEL_TENSOR.TOKEN_EMBD, model.embedding)
    add(MODEL_TENSOR.OUTPUT_NORM, model.final_norm)
    if not config.tied:
        add(MODEL_TENSOR.OUTPUT, model.classifier)
    for index, layer in enumerate(model.layers):
        for name, kind in LAYER_TENSORS.items():
            add(kind, getattr(layer, name), index)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


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


def _write_tokenizer(writer, tokenizer):
    kinds = [TokenType.NORMAL] * len(tokenizer.pieces)
    kinds[0], kinds[BOS], kinds[EOS] = TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL
    kinds[tokenizer.bytes.start:tokenizer.bytes.stop] = [TokenType.BYTE] * len(tokenizer.bytes)
    pieces = [piece.decode(errors="replace").replace(" ", SPACE) for piece in tokenizer.pieces]
    pieces[:BYTES_FROM] = ["<unk>", "<s>", "</s>"]
    pieces[tokenizer.bytes.start:tokenizer.bytes.stop] = [f"<0x{byte:02X}>" for byte in range(len(tokenizer.bytes))]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(pieces)
    writer.add_token_scores(tokenizer.scores)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(EOS)


def _config(file):
    """The model's shape, from the metadata, checked."""
    scaling = file.get(Keys.Rope.SCALING_TYPE, "none")
    if scaling != "none":
        raise FormatError(f"{file.path}: rope scaling {scaling!r}, which Marey cannot do")
    heads = file.get(Keys.Attention.HEAD_COUNT)
    values = {
        "dim": file.get(Keys.LLM.EMBEDDING_LENGTH), "hidden_dim": file.get(Keys.LLM.FEED_FORWARD_LENGTH),
        "n_layers": file.get(Keys.LLM.BLOCK_COUNT), "n_heads": heads,
        "n_kv_heads": file.get(Keys.Attention.HEAD_COUNT_KV, heads), "seq_len": file.get(Keys.LLM.CONTEXT_LENGTH),
        "vocab_size": len(file.get(Keys.Tokenizer.LIST)),
    }
    for name, value in values.items():
        if not isinstance(value, int) or not 0 < value <= LIMITS[name]:
            raise FormatError(f"{file.path}: its metadata say {name} = {value}, expected 1 to {LIMITS[name]}")
    reals = {"rope_theta": file.get(Keys.Rope.FREQ_BASE, 10000.0), "norm_eps": file.get(Keys.Attention.LAYERNORM_RMS_EPS)}
    for name, value in reals.items():
        if not isinstance(value, float) or not 0 < value < 1e12:
            raise FormatError(f"{file.path}: its metadata say {name} = {value}, expected a positive number")
    # Metadata are float32: 1e-5 is meant where 9.9999997e-06 is found.
    reals = {name: float(f"{value:.7g}") for name, value in reals.items()}
    config = ModelConfig(**values, **reals, tied=not file.has(MODEL_TENSOR.OUTPUT))
    if config.dim % config.n_heads or config.head_dim % 2 or config.n_heads % config.n_kv_heads:
        raise FormatError(f"{file.path}: its metadata say dim {config.dim}, {config.n_heads} heads, {config.n_kv_heads} KV "
                          "heads, which do not divide")
    rotary = file.get(Keys.Rope.DIMENSION_COUNT, config.head_dim)
    if rotary != config.head_dim:
        raise FormatError(f"{file.path}: rotary embedding of {rotary} of {config.head_dim} channels, which Marey cannot do")
    return config
