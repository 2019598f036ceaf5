"""The safetensors files of a folder: one file, or several ("shards") with an index that says where
each tensor is.

Format: https://huggingface.co/docs/safetensors. A file begins with a JSON header, so shapes and
types are known before any weight is read. Files are mapped, and weights are read tensor by tensor.
"""

import errno
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..errors import FormatError
from .checks import finite
from .json_file import read_json

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
INDEX_LIMIT = 1 << 24
"""Bytes; a larger index is not read."""
TYPES = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
"""Types of tensors that are read. To import ml_dtypes teaches numpy the name "bfloat16", which
safetensors uses.
"""
OTHER_WEIGHTS = ("pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.00.pth", "tf_model.h5",
                 "flax_model.msgpack")
"""Files of weights in formats that Marey does not read."""
Found = TypeVar("Found")


class SafetensorsFolder:
    """The tensors of a folder.

    `prefix`: names may begin with it or not; they are known here without it. `files`: the name of
    the file that has each tensor, empty if the folder has neither weights nor an index. FormatError
    for an index that is damaged.
    """

    def __init__(self, folder: Path, prefix: str = ""):
        self._folder = folder
        index = folder / INDEX
        if index.is_file():
            files = read_json(index, INDEX_LIMIT).get("weight_map")
            if not isinstance(files, dict) or not all(map(_is_file_name, files.values())):
                raise FormatError(f"{index}: its weight_map does not name files of this folder")
        elif (folder / SINGLE).is_file():
            files = dict.fromkeys(self._open(SINGLE, lambda file: file.keys()), SINGLE)
        else:
            files = {}
        self._names = {name.removeprefix(prefix): name for name in files}
        self.files = {name.removeprefix(prefix): file for name, file in files.items()}

    def has_weights(self) -> bool:
        """Whether there is a file of weights: a folder may have only its configuration, or only an
        index.
        """
        return any((self._folder / file).is_file() for file in set(self.files.values()))

    def headers(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and type of each tensor, from the headers alone. FormatError for a file that is
        missing or damaged.
        """
        if not self.files:
            others = [name for name in OTHER_WEIGHTS if (self._folder / name).is_file()]
            cure = f"; Marey does not read {others[0]}: convert it to safetensors" if others else ""
            raise FormatError(f"{self._folder}: its weights are missing: no {SINGLE} and no {INDEX}{cure}")
        by_file: dict[str, list[str]] = {}
        for name, file in self.files.items():
            by_file.setdefault(file, []).append(name)
        missing = sorted(file for file in by_file if not (self._folder / file).is_file())
        if missing:
            raise FormatError(f"{self._folder / missing[0]}: this file of weights is missing: {INDEX} names "
                              f"{len(by_file)} files, and {len(missing)} are not in the folder")
        found = {}
        for file, names in by_file.items():
            found |= self._open(file, lambda opened, names=names: {
                name: self._header(opened, name) for name in names})
        return found

    def get(self, name: str) -> np.ndarray:
        """A tensor as float32. FormatError if its file is damaged, or a value is NaN or infinite.
        """
        values = self._open(self.files[name], lambda file: file.get_tensor(self._names[name]))
        where = f"{self._folder / self.files[name]}: tensor {name}"
        return finite(where, values.astype(np.float32, copy=False))

    def _header(self, file, name: str) -> tuple[tuple[int, ...], str]:
        """Shape and type of a tensor in an opened file. FormatError if the index is wrong about it."""
        if self._names[name] not in file.keys():  # noqa: SIM118 - a file of safetensors is no mapping
            raise FormatError(f"{self._folder / self.files[name]}: tensor {name} is missing from this file, "
                              f"where {INDEX} says it is")
        part = file.get_slice(self._names[name])
        return tuple(part.get_shape()), part.get_dtype()

    def _open(self, name: str, use: Callable[..., Found]) -> Found:
        """The result of `use(file)`. FormatError for a file that cannot be read, or is damaged."""
        path = self._folder / name
        try:
            with safe_open(path, "np") as file:
                return use(file)
        except FileNotFoundError:
            raise FormatError(f"{path}: no such file") from None
        except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise FormatError(f"{path}: damaged, or no safetensors file: "
                              f"{' '.join(str(error).split())[:200]}") from None


def _is_file_name(value: object) -> bool:
    """Whether a value of an index names a file of its own folder."""
    return isinstance(value, str) and Path(value).name == value and len(value) < 256


def files_of(folder: Path) -> list[Path]:
    """The files of weights, and their index, that a folder has."""
    return [*folder.glob("model*.safetensors"), *folder.glob(INDEX)]


def write(new: Callable[[str], Path], tensors: Iterable[tuple[str, np.ndarray]], shard_bytes: int) -> set[str]:
    """Writes tensors as float32 to files of about `shard_bytes`, one if they fit it; returns the
    names of the files.

    `new(name)` is the path to write a file of that name to. A file is in memory twice while it is
    written. OSError if it cannot be written.
    """
    shards: list[dict[str, np.ndarray]] = [{}]
    room = shard_bytes
    for name, values in tensors:
        room -= 4 * values.size
        if room < 0 and shards[-1]:
            shards.append({})
            room = shard_bytes - 4 * values.size
        shards[-1][name] = values
    files = [SINGLE] if len(shards) == 1 else [
        f"model-{number:05}-of-{len(shards):05}.safetensors" for number in range(1, len(shards) + 1)]
    for file, shard in zip(files, shards, strict=True):
        content = {name: np.ascontiguousarray(values, np.float32) for name, values in shard.items()}
        try:
            save_file(content, new(file), metadata={"format": "pt"})
        except SafetensorError as error:
            raise OSError(errno.EIO, f"was not written to its end: {error}") from None
    if len(shards) > 1:
        _write_index(new(INDEX), dict(zip(files, shards, strict=True)))
        files.append(INDEX)
    return set(files)


def _write_index(path: Path, shards: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    where = {name: file for file, shard in shards.items() for name in shard}
    size = sum(4 * values.size for shard in shards.values() for values in shard.values())
    index = {"metadata": {"total_size": size}, "weight_map": where}
    path.write_text(json.dumps(index, indent=2) + "\n")
