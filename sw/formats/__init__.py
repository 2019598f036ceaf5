"""Model files and tokenizer files. The content of a file says which format it has, not its name.

Each format is a module with `read(path)`, `read_shape(path)`, `read_tokenizer(path, vocab_size)`
and `write`.
"""

import zipfile
from pathlib import Path
from types import ModuleType

from ..errors import FormatError
from ..model.config import ModelConfig
from ..model.model import Model
from ..text.tokenizer import Tokenizer
from . import gguf, huggingface, llama2c

__all__ = ["DEFAULT_MODEL", "FormatError", "load_model", "load_shape", "load_tokenizer"]

DEFAULT_MODEL = Path(__file__).parents[1] / "models" / "stories.gguf"
"""The model that ships with Marey; docs/training.md tells how it was made."""


def load_model(path: Path | str) -> Model:
    """The model in a file, or in a Hugging Face folder, which may be named by its `config.json`.

    FormatError if there is none, if it is damaged, or if Marey cannot do it.
    """
    path = _without_config(Path(path))
    return _reader(path).read(path)


def load_shape(path: Path | str) -> ModelConfig:
    """The shape of the model in a file or folder, from its headers: `config.json` alone will do, or
    a file without weights.

    FormatError for every model that `load_model` refuses without a look at its weights' values.
    """
    path = _without_config(Path(path))
    return _reader(path).read_shape(path)


def load_tokenizer(path: Path | str | None, model: Path | str, vocab_size: int) -> Tokenizer:
    """The tokenizer in the file or folder `path`, or without one the tokenizer of the model file or folder
    `model`.

    A llama2.c checkpoint has its tokenizer beside it, as tok<vocab_size>.bin or tokenizer.bin.
    FormatError if there is none, or if it does not fit a vocabulary of `vocab_size` tokens.
    """
    model = _without_config(Path(model))
    path = _tokenizer_path(model, vocab_size) if path is None else Path(path)
    if path.is_dir():
        path = path / huggingface.TOKENIZER
    if path.suffix == ".json":
        return huggingface.read_tokenizer(path, vocab_size)
    return (gguf if _is_gguf(path) else llama2c).read_tokenizer(path, vocab_size)


def _without_config(path: Path) -> Path:
    """The folder of a `config.json`, and any other path as it is."""
    return path.parent if path.name == huggingface.CONFIG and path.is_file() else path


def _reader(path: Path) -> ModuleType:
    """The module that reads the model in a file or folder. FormatError if there is no model."""
    if (path / huggingface.CONFIG).is_file():
        return huggingface
    if path.is_dir():
        raise FormatError(f"{path}: this folder has no {huggingface.CONFIG}, so no Hugging Face model")
    if not path.is_file():
        raise FormatError(f"{path}: {'is no regular file' if path.exists() else 'no such file'}")
    if zipfile.is_zipfile(path):
        raise FormatError(f"{path}: an archive, not a model file: `marey run` runs a program that was "
                          "compiled, and a PyTorch checkpoint must be converted")
    if path.suffix == ".safetensors":
        raise FormatError(f"{path}: weights without their configuration: name the folder that has both")
    return gguf if _is_gguf(path) else llama2c


def _tokenizer_path(model: Path, vocab_size: int) -> Path:
    """The file or folder that has a model's own tokenizer. FormatError if there is none beside a llama2.c
    checkpoint.
    """
    if model.is_dir() or _is_gguf(model):
        return model
    names = [f"tok{vocab_size}.bin", "tokenizer.bin"]
    for name in names:
        if model.with_name(name).is_file():
            return model.with_name(name)
    raise FormatError(f"{model}: no {' or '.join(names)} beside it: name the tokenizer with --tokenizer FILE")


def _is_gguf(path: Path) -> bool:
    """Whether a file begins as a GGUF file does."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(gguf.MAGIC)) == gguf.MAGIC
