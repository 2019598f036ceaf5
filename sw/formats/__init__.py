"""Model files and tokenizer files, told apart by what is in them."""

import zipfile
from pathlib import Path

from ..errors import FormatError
from ..model.config import ModelConfig
from ..model.model import Model
from ..text.tokenizer import Tokenizer
from . import gguf, huggingface, llama2c

__all__ = ["DEFAULT_MODEL", "FormatError", "load_model", "load_shape", "load_tokenizer"]

DEFAULT_MODEL = Path(__file__).parents[1] / "models" / "stories.gguf"
"""The model that ships with Marey; docs/training.md tells how it was made."""


def load_model(path: Path | str) -> Model:
    """The model in a file, or in a Hugging Face folder. FormatError if there is none."""
    path = Path(path)
    return _format(path).read(path)


def load_shape(path: Path | str) -> ModelConfig:
    """The shape of the model in a file or folder, from its header or its `config.json` alone: weights need not be there.
    FormatError if there is none."""
    path = Path(path)
    if path.name == "config.json" and path.is_file():
        path = path.parent
    return _format(path).read_shape(path)


def _format(path):
    """What reads the model in a file or folder. FormatError, with what is there instead, if there is none."""
    if (path / "config.json").is_file():
        return huggingface
    if path.is_dir():
        raise FormatError(f"{path}: no such file as config.json in this folder, so no Hugging Face model")
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    if zipfile.is_zipfile(path):
        raise FormatError(f"{path}: no model file, but an archive: `marey run` runs a program that was compiled, and a PyTorch "
                          "checkpoint must be converted")
    if path.suffix == ".safetensors":
        raise FormatError(f"{path}: weights without their configuration: name the folder that has both")
    return gguf if _is_gguf(path) else llama2c


def load_tokenizer(path: Path | str | None, model: Path | str, vocab_size: int) -> Tokenizer:
    """The tokenizer in `path`, or else the one next to the model; FormatError if it does not fit the model."""
    model = Path(model)
    if path is None and _is_gguf(model):
        path = model
    if path is None and model.is_dir():
        path = model / "tokenizer.json"
    if path is None:
        names = [f"tok{vocab_size}.bin", "tokenizer.bin"]
        found = [model.with_name(name) for name in names if model.with_name(name).is_file()]
        if not found:
            raise FormatError(f"{model}: no {' or '.join(names)} beside it: name the tokenizer with --tokenizer FILE")
        path = found[0]
    path = Path(path)
    if path.suffix == ".json":
        return huggingface.read_tokenizer(path, vocab_size)
    return gguf.read_tokenizer(path, vocab_size) if _is_gguf(path) else llama2c.read_tokenizer(path, vocab_size)


def _is_gguf(path):
    """Whether a file begins as a GGUF file does."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(gguf.MAGIC)) == gguf.MAGIC
