"""llama2.c checkpoints: https://github.com/karpathy/llama2.c, `export.py`.

A legacy checkpoint has a header of seven int32: dim, hidden_dim, n_layers, n_heads, n_kv_heads,
vocab_size, seq_len. A negative vocab_size says that the classifier is not the embedding. Then come
float32 weights: the embedding; for each kind of weight, all layers; the final norm; two tables of
rotary embedding, which are not read; the classifier if it is separate.

Versions 1 and 2 have a header of 256 bytes: "24ka", an int32 version, the seven dimensions, and a
byte that is 1 if the classifier is the embedding; in version 2 also an int32 group size. Then come
float32 norms, then the matrices. In version 1 they are float32. In version 2 a matrix is int8
values, then a float32 scale for each group of values.
"""

import struct
from pathlib import Path

import numpy as np

from ...sim.files import new_contents
from ..errors import FormatError
from ..model.config import ModelConfig
from ..model.families import weight_shapes
from ..model.model import Model
from ..text.tokenizer import Tokenizer
from .checks import checked_config, finite
from .llama2c_tokenizer import BOS, EOS, read_tokenizer, tokenizer_bytes, write_tokenizer

__all__ = ["read", "read_shape", "read_tokenizer", "tokenizer_bytes", "write", "write_tokenizer"]

DIMENSIONS = ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len")
MAGIC, HEADER, TIED = b"24ka", 256, 36
NORMS = ("attention_norm", "ffn_norm")
MATRICES = ("wq", "wk", "wv", "wo", "w1", "w2", "w3")
LEGACY_ORDER = ("attention_norm", "wq", "wk", "wv", "wo", "ffn_norm", "w1", "w2", "w3")


def read(path: Path) -> Model:
    """The model in a checkpoint. Float32 weights are mapped from the file. FormatError for anything
    else.
    """
    size, header = path.stat().st_size, _header(path)
    config = _config(path, header)
    _check_size(path, size, _expected_size(path, header, config))
    if header.startswith(MAGIC):
        return _read_versioned(path, header, config)
    rotary = config.seq_len * config.head_dim
    take = _Taker(path, 4 * len(DIMENSIONS))
    embedding = take(config.vocab_size, config.dim)
    kinds = {name: take(config.n_layers, *_layer_shape(config, name)) for name in LEGACY_ORDER}
    final_norm = take(config.dim)
    take.skip(4 * rotary)
    classifier = embedding if config.tied else take(config.vocab_size, config.dim)
    return _model(config, embedding, kinds, final_norm, classifier)


def read_shape(path: Path) -> ModelConfig:
    """The shape of the model in a checkpoint, from its header and its size. A file may be a header
    and nothing more.

    FormatError for every checkpoint that `read` refuses without a look at its weights' values.
    """
    header, size = _header(path), path.stat().st_size
    config = _config(path, header)
    expected = _expected_size(path, header, config)
    if size != (HEADER if header.startswith(MAGIC) else 4 * len(DIMENSIONS)):
        _check_size(path, size, expected)
    return config


def _header(path):
    with path.open("rb") as file:
        header = file.read(HEADER)
    if len(header) < 4 * len(DIMENSIONS):
        raise FormatError(f"{path}: {len(header)} bytes, too short for a model: expected a GGUF file, or a "
                          f"llama2.c checkpoint, whose header has {4 * len(DIMENSIONS)}")
    if header.startswith(MAGIC) and len(header) < HEADER:
        raise FormatError(f"{path}: {len(header)} bytes, but the header of a llama2.c checkpoint has "
                          f"{HEADER}: truncated")
    return header


def _config(path, header):
    """The model's shape, from the header of any version, checked."""
    if not header.startswith(MAGIC):
        values = dict(zip(DIMENSIONS, struct.unpack_from("<7i", header), strict=True))
        tied, values["vocab_size"] = values["vocab_size"] > 0, abs(values["vocab_size"])
        return checked_config(f"{path}: no GGUF file, and as a llama2.c checkpoint its header", **values, tied=tied)
    version, *values = struct.unpack_from("<8i", header, len(MAGIC))
    if version not in (1, 2):
        raise FormatError(f"{path}: version {version} of llama2.c's format, and Marey reads 0, 1 and 2")
    if header[TIED] > 1:
        raise FormatError(f"{path}: header says {header[TIED]} where 0 or 1 is expected: damaged?")
    values = dict(zip(DIMENSIONS, values, strict=True))
    return checked_config(f"{path}: as a llama2.c checkpoint its header", **values, tied=bool(header[TIED]))


def _expected_size(path: Path, header: bytes, config: ModelConfig) -> int:
    """Bytes of a checkpoint with this header. FormatError for groups that do not divide its
    matrices.
    """
    count, norms = _count(config), (2 * config.n_layers + 1) * config.dim
    if not header.startswith(MAGIC):
        return 4 * (len(DIMENSIONS) + count + config.seq_len * config.head_dim)
    version, group = _version(header), _group(header)
    if version == 1:
        return HEADER + 4 * count
    shapes = [(config.vocab_size, config.dim), *(_layer_shape(config, name) for name in MATRICES)]
    if group <= 0 or any(int(np.prod(shape)) % group for shape in shapes):
        raise FormatError(f"{path}: header says groups of {group}, which do not divide its matrices: "
                          "damaged?")
    return HEADER + 4 * norms + (count - norms) // group * (group + 4)


def _version(header: bytes) -> int:
    return struct.unpack_from("<i", header, len(MAGIC))[0]


def _group(header: bytes) -> int:
    """Values of a matrix that have one scale, in version 2."""
    return struct.unpack_from("<i", header, TIED + 1)[0]


def _read_versioned(path: Path, header: bytes, config: ModelConfig) -> Model:
    """The model in a checkpoint with a header of 256 bytes."""
    take = _Taker(path, HEADER)
    matrix = take if _version(header) == 1 else take.groups(_group(header))
    kinds = {name: take(config.n_layers, config.dim) for name in NORMS}
    final_norm = take(config.dim)
    embedding = matrix(config.vocab_size, config.dim)
    for name in MATRICES:
        kinds[name] = [matrix(*_layer_shape(config, name)) for _ in range(config.n_layers)]
    classifier = embedding if config.tied else matrix(config.vocab_size, config.dim)
    return _model(config, embedding, kinds, final_norm, classifier)


def write(path: Path, model: Model, tokenizer: Tokenizer | None = None) -> None:
    """Writes a model as a legacy checkpoint, and a tokenizer as tokenizer.bin beside it.

    FormatError if the format has no place for one of them; nothing is written then, and nothing
    after any other failure.
    """
    config = model.config
    if config.family != "llama":
        raise FormatError(f"{path}: llama2.c's format has no place for the family {config.family}: write a "
                          "folder")
    able = ModelConfig(**{name: getattr(config, name) for name in DIMENSIONS}, tied=config.tied, bos=BOS, eos=(EOS,))
    for name in ("rope_theta", "norm_eps", "bos", "eos", "rope_factors", "head_width"):
        if getattr(config, name) != getattr(able, name):
            raise FormatError(f"{path}: llama2.c's format has no place for {name} = {getattr(config, name)}, "
                              f"only for {getattr(able, name)}: write a .gguf file, or a folder")
    header = [getattr(config, name) for name in DIMENSIONS]
    header[DIMENSIONS.index("vocab_size")] *= 1 if config.tied else -1
    layers = range(config.n_layers)
    parts = [model["embedding"], *(model[f"layers.{index}.{name}"] for name in LEGACY_ORDER for index in layers),
             model["final_norm"], np.zeros(config.seq_len * config.head_dim, "<f4"),
             *([] if config.tied else [model["classifier"]])]
    with new_contents(path.parent) as new:
        if tokenizer is not None:
            beside = path.with_name("tokenizer.bin")
            new(beside.name).write_bytes(tokenizer_bytes(beside, tokenizer, config.vocab_size))
        with new(path.name).open("wb") as file:
            file.write(struct.pack("<7i", *header))
            for part in parts:
                np.ascontiguousarray(part, "<f4").tofile(file)


def _count(config):
    """Number of weights of a model."""
    return sum(int(np.prod(shape)) for shape in weight_shapes(config).values())


def _layer_shape(config: ModelConfig, name: str) -> tuple[int, ...]:
    """Shape of a weight that each layer has."""
    return weight_shapes(config)[f"layers.0.{name}"]


def _check_size(path, size, expected):
    if size != expected:
        raise FormatError(f"{path}: {size} bytes, but a llama2.c checkpoint with its header has {expected}: "
                          f"{'truncated' if size < expected else 'too long'}, or no llama2.c checkpoint")


def _model(config, embedding, kinds, final_norm, classifier):
    weights = {"embedding": embedding, "final_norm": final_norm, "classifier": classifier}
    for index in range(config.n_layers):
        weights |= {f"layers.{index}.{name}": kind[index] for name, kind in kinds.items()}
    return Model(config, weights)


class _Taker:
    """Arrays of a mapped file, one after another. Called with a shape, it returns the next one as
    float32.
    """

    def __init__(self, path: Path, position: int):
        self._path, self._position = path, position
        self._bytes = np.memmap(path, np.uint8, "r")

    def __call__(self, *shape):
        return finite(f"{self._path}: a weight of shape {shape}", self._next("<f4", int(np.prod(shape))).reshape(shape))

    def groups(self, size):
        """A function from a shape to the next matrix of int8, which has a scale for each `size`
        values, as float32.
        """
        def matrix(*shape):
            values = self._next("i1", int(np.prod(shape))).reshape(-1, size)
            scales = self(len(values), 1)
            with np.errstate(over="ignore"):
                return finite(f"{self._path}: a weight of shape {shape}", (values * scales).reshape(shape))

        return matrix

    def skip(self, count):
        self._position += count

    def _next(self, dtype, count):
        end = self._position + count * np.dtype(dtype).itemsize
        self._position, found = end, self._bytes[self._position:end].view(dtype)
        return found
