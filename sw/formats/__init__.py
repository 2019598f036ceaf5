"""Model files and tokenizer files. The content of a file says which format it has, not its name.

A model is named by its path, or as `sources` says: `smollm2`, `hf:ORG/NAME`.

Each format is a module with `read(path)`, `read_shape(path)`, `read_tokenizer(path, vocab_size)`
and `write`; those that have a place for a chat template, with `read_template(path)`.
"""

import warnings
import zipfile
from importlib import import_module
from pathlib import Path
from types import ModuleType

from ..errors import FormatError, FormatWarning
from ..model.config import ModelConfig
from ..model.model import Model
from ..text.chat import ChatTemplate
from ..text.tokenizer import Tokenizer
from .names import CONFIG, GGUF_MAGIC, MERGES, TOKENIZER
from .sources import HUB, located

__all__ = ["DEFAULT_MODEL", "FormatError", "files_of", "load_model", "load_shape", "load_template", "load_tokenizer"]

DEFAULT_MODEL = Path(__file__).parents[1] / "models" / "stories.gguf"
"""The model that ships with Marey; docs/training.md tells how it was made."""


def load_model(path: Path | str) -> Model:
    """The model in a file, or in a Hugging Face folder, which may be named by its `config.json`; or
    one that is fetched, see `sources.located`.

    FormatError if there is none, if it is damaged, or if Marey cannot do it.
    """
    _hub_shape(path)  # A model that is refused is refused before its weights are fetched.
    path = _without_config(located(path))
    return _reader(path).read(path)


def load_shape(path: Path | str) -> ModelConfig:
    """The shape of the model in a file or folder, from its headers: `config.json` alone will do, or
    a file without weights.

    FormatError for every model that `load_model` refuses without a look at its weights' values.
    """
    if shape := _hub_shape(path):
        return shape
    path = _without_config(located(path))
    return _reader(path).read_shape(path)


def load_tokenizer(path: Path | str | None, model: Path | str, vocab_size: int) -> Tokenizer:
    """The tokenizer in the file or folder `path`, or without one the tokenizer of the model file or folder
    `model`.

    A llama2.c checkpoint has its tokenizer beside it, as tok<vocab_size>.bin or tokenizer.bin.
    FormatError if there is none, or if it does not fit a vocabulary of `vocab_size` tokens.
    """
    model = _without_config(located(model))
    path = _tokenizer_path(model, vocab_size) if path is None else Path(path)
    if path.is_dir():
        path = path / TOKENIZER
    name = "huggingface" if path.suffix == ".json" else "gguf" if _is_gguf(path) else "llama2c"
    return _module(name).read_tokenizer(path, vocab_size)


def load_template(path: Path | str) -> ChatTemplate | None:
    """The chat template of a model; None if it has none. One that is damaged is left out with a
    FormatWarning, since only a chat needs it. FormatError if there is no model.
    """
    path = _without_config(located(path))
    reader = _reader(path)
    try:
        return reader.read_template(path) if hasattr(reader, "read_template") else None
    except FormatError as error:
        warnings.warn(f"{path}: {str(error).removeprefix(f'{path}: ')}: the template is left out", FormatWarning, stacklevel=2)
        return None


def files_of(path: Path | str, tokenizer: Path | str | None) -> list[Path]:
    """The files that `load_model`, `load_tokenizer` and `load_template` may read, those that are there.

    They are all files in a model's folder, or a file and the tokenizers beside it; and
    `tokenizer`, if one is named. FormatError if the model cannot be fetched.
    """
    path = _without_config(located(path))
    found = sorted(path.glob("*") if path.is_dir() else {path, *path.parent.glob("tok*.bin")})
    if tokenizer is not None:
        folder = Path(tokenizer) if Path(tokenizer).is_dir() else Path(tokenizer).parent
        found += [Path(tokenizer), *sorted([*folder.glob("*.json"), folder / MERGES])]
    return [file for file in found if file.is_file()]


def _module(name: str) -> ModuleType:
    """The module of a format. It is imported here, because the library gguf takes a tenth of a second, and a model that was
    compiled before is not read again."""
    return import_module(f".{name}", __package__)


def _hub_shape(path: Path | str) -> ModelConfig | None:
    """The shape of a Hugging Face folder on the hub, of which only small files are fetched; None for any other model."""
    if not str(path).startswith(HUB):
        return None
    place = located(path, weights=False)
    return _module("huggingface").read_config(place)[1] if place.is_dir() else None


def _without_config(path: Path) -> Path:
    """The folder of a `config.json`, and any other path as it is."""
    return path.parent if path.name == CONFIG and path.is_file() else path


def _reader(path: Path) -> ModuleType:
    """The module that reads the model in a file or folder. FormatError if there is no model."""
    if (path / CONFIG).is_file():
        return _module("huggingface")
    if path.is_dir():
        raise FormatError(f"{path}: this folder has no {CONFIG}, so no Hugging Face model")
    if not path.is_file():
        raise FormatError(f"{path}: {'is no regular file' if path.exists() else 'no such file'}")
    if zipfile.is_zipfile(path):
        raise FormatError(f"{path}: an archive, not a model file: `marey run` runs a program that was "
                          "compiled, and a PyTorch checkpoint must be converted")
    if path.suffix == ".safetensors":
        raise FormatError(f"{path}: weights without their configuration: name the folder that has both")
    return _module("gguf" if _is_gguf(path) else "llama2c")


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
        return file.read(len(GGUF_MAGIC)) == GGUF_MAGIC
