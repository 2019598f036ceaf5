"""Model files and tokenizer files, told apart by what is in them."""

from pathlib import Path

from ..errors import FormatError
from ..model import Llama
from ..tokenizer import Tokenizer
from . import llama2c

__all__ = ["FormatError", "load_model", "load_tokenizer"]


def load_model(path: Path | str) -> Llama:
    """The model in a file. FormatError if there is none."""
    path = Path(path)
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    return llama2c.read(path)


def load_tokenizer(path: Path | str | None, model: Path | str, vocab_size: int) -> Tokenizer:
    """The tokenizer in `path`, or else the one next to the model; FormatError if it does not fit the model."""
    if path is None:
        names = [f"tok{vocab_size}.bin", "tokenizer.bin"]
        found = [Path(model).with_name(name) for name in names if Path(model).with_name(name).is_file()]
        if not found:
            raise FormatError(f"{model}: no {' or '.join(names)} beside it: name the tokenizer with --tokenizer FILE")
        path = found[0]
    return Tokenizer.read(Path(path), vocab_size)
