"""GGUF files of the architectures `llama`, `qwen2` and `qwen3`, read and written with the library `gguf`."""

from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_VERSION, GGMLQuantizationType, GGUFWriter, LlamaFileType

from ...sim.files import new_content
from ..errors import FormatError
from ..model.config import ModelConfig
from ..model.families import weight_shapes
from ..model.model import Model
from ..text.chat import ChatTemplate
from ..text.tokenizer import Tokenizer
from . import gguf_tokenizer, templates
from .checks import check_tensors
from .gguf_blocks import BLOCK, q4_0, q8_0
from .gguf_config import config_of
from .gguf_file import TYPES, File
from .gguf_tensors import ARCHITECTURES, ROPE_FACTORS, from_file, tensor_name, to_file

__all__ = ["read", "read_shape", "read_template", "read_tokenizer", "tensor_name", "write"]


def read(path: Path) -> Model:
    """The model in a GGUF file. FormatError for a file that is damaged, or a model that Marey
    cannot do.
    """
    file = File(path)
    config = config_of(file)
    if not file.headers():
        raise FormatError(f"{path}: it has a header and no tensors: its weights are missing")
    _check_headers(file, config)
    return Model(config, {name: from_file(config, name, file.tensor(tensor_name(name))) for name in weight_shapes(config)})


def read_shape(path: Path) -> ModelConfig:
    """The shape of the model in a GGUF file, from its header. A file may have a header and no
    tensors at all.

    FormatError for every model that `read` refuses without a look at its weights' values.
    """
    file = File(path)
    config = config_of(file)
    if file.headers():
        _check_headers(file, config)
    return config


def read_tokenizer(path: Path, vocab_size: int) -> Tokenizer:
    """The tokenizer in a GGUF file's metadata. FormatError for a kind that Marey cannot make, or
    another model's.
    """
    return gguf_tokenizer.read(File(path), vocab_size)


def read_template(path: Path) -> ChatTemplate | None:
    """The chat template in a GGUF file's metadata; None if it has none. FormatError if it is damaged."""
    return templates.read_gguf(File(path))


def write(path: Path, model: Model, tokenizer: Tokenizer, dtype: str = "F32",
          template: ChatTemplate | None = None) -> None:
    """Writes model, tokenizer and chat template, matrices as "F32", "Q8_0" or "Q4_0".

    A matrix whose rows are no multiple of 32 values, and every vector, is written as F32.
    FormatError for a model or a tokenizer that the format has no place for.
    """
    config = model.config
    if config.family not in ARCHITECTURES:
        raise FormatError(f"{path}: Marey writes GGUF files of the families {', '.join(ARCHITECTURES)}, not of "
                          f"{config.family}: write a folder")
    with new_content(path) as temporary:
        writer = GGUFWriter(temporary, config.family)
        try:
            _fill(writer, path, model, tokenizer, dtype, template)
        finally:
            writer.close()


def _fill(writer, path, model, tokenizer, dtype, template):
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
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    gguf_tokenizer.write(writer, path, tokenizer, config)
    if template:
        templates.write_gguf(writer, template)
    if config.rope_factors:
        writer.add_tensor(ROPE_FACTORS, np.array(config.rope_factors, np.float32))
    encode = {"F32": None, "Q8_0": q8_0, "Q4_0": q4_0}[dtype]
    for name in weight_shapes(config):
        values = np.ascontiguousarray(to_file(config, name, model[name]), np.float32)
        if encode and values.ndim == 2 and values.shape[1] % BLOCK == 0:
            writer.add_tensor(tensor_name(name), encode(values), raw_dtype=GGMLQuantizationType[dtype])
        else:
            writer.add_tensor(tensor_name(name), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()


def _check_headers(file: File, config: ModelConfig) -> None:
    """FormatError if the tensors in the header are not those that the model needs."""
    expected = {tensor_name(name): shape for name, shape in weight_shapes(config).items()}
    found = {name: header for name, header in file.headers().items() if name != ROPE_FACTORS}
    check_tensors(str(file.path), expected, found, TYPES)
