"""The container of GGUF files: metadata by key and tensors by name, whatever the model is.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, read by the library `gguf`.
"""

import struct
from collections.abc import Collection
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFEndian, GGUFReader, GGUFValueType, Keys, quants

from ..errors import FormatError
from .checks import finite

TYPES = tuple("F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K TQ1_0 TQ2_0 MXFP4 IQ1_S IQ1_M "
              "IQ2_XXS IQ2_XS IQ2_S IQ3_XXS IQ3_S IQ4_NL IQ4_XS".split())
"""Types of tensors that are read: the library turns each into float32."""
MOST = {"keys": 1 << 12, "tensors": 1 << 14, "values": 1 << 21}
"""Largest counts in a header. A header with a larger one is taken to be damaged, for the library
makes objects of each.
"""
ARRAY_HEADER_BYTES, STRING_HEADER_BYTES = 12, 8
"""What stands before an array's elements (their kind and number), and before a string (its length)."""
DAMAGE = (ValueError, KeyError, IndexError, TypeError, OverflowError, RecursionError, struct.error)
"""Errors that the library raises for a damaged file."""


class _Reader(GGUFReader):
    """The library's reader, with limits: it refuses to read beyond the end of the file, and counts
    that are too large.
    """

    def _get(self, offset, dtype, count=1, override_order=None):
        if isinstance(self.data, np.memmap):
            self.data = self.data.view(np.ndarray)  # slices of a plain array are smaller and faster
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
        if raw_type != GGUFValueType.ARRAY:
            return super()._get_field_parts(orig_offs, raw_type)
        kind, count = int(self._get(orig_offs, np.uint32)[0]), int(self._get(orig_offs + 4, np.uint64)[0])
        self._values += count
        self._limit("values", self._values)
        parts = self._elements(orig_offs + ARRAY_HEADER_BYTES, GGUFValueType(kind), count) if count else None
        if parts is None:
            return super()._get_field_parts(orig_offs, raw_type)
        end, elements = parts
        return end - orig_offs, elements, list(range(count)), [GGUFValueType.ARRAY, GGUFValueType(kind)]

    def _elements(self, begin, kind, count):
        """(end, elements) of an array of strings or numbers that begins at a byte; None for another kind.

        The library takes ten times as long: seconds for the pieces and merges of a vocabulary.
        """
        if scalar := self.gguf_scalar_to_np.get(kind):
            values = self._get(begin, scalar, count)
            return begin + values.nbytes, [values[at:at + 1] for at in range(count)]
        if kind != GGUFValueType.STRING:
            return None
        content, order, elements = memoryview(self.data), "big" if self.endianess == GGUFEndian.BIG else "little", []
        for _ in range(count):
            first = begin + STRING_HEADER_BYTES
            begin = first + int.from_bytes(content[begin:first], order)
            elements.append(content[first:begin])
            if begin > len(content):
                raise ValueError("it ends before what its header says")
        return begin, elements

    def _limit(self, what, count):
        if count > MOST[what]:
            raise ValueError(f"its header says {count} {what}, expected {MOST[what]} at most")


class File:
    """The metadata and tensors of a GGUF file, by name. Keys may contain "{arch}", which stands for
    the architecture; `architecture` is its name, empty if the file has none.

    FormatError for a file that is damaged or cut off, wherever its header is.
    """

    def __init__(self, path: Path):
        self.path, self.architecture = path, ""
        try:
            self._reader = _Reader(path)
            self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}
        except DAMAGE as error:
            raise FormatError(f"{path}: damaged, or no GGUF file: "
                              f"{' '.join(str(error).split())[:200]}") from None
        self.architecture = str(self.get(Keys.General.ARCHITECTURE, ""))

    def get(self, key: str, default=None):
        """A metadata value, or the default. FormatError if there is neither."""
        key = self.key(key)
        field = self._reader.get_field(key)
        if field is None and default is None:
            raise FormatError(f"{self.path}: its metadata have no {key}")
        try:
            return default if field is None else field.contents()
        except DAMAGE:
            raise FormatError(f"{self.path}: its metadata are damaged at {key}") from None

    def get_list(self, key: str, kind: type, default: list | None = None) -> list:
        """A metadata array whose values have one type. FormatError if it is anything else."""
        found = self.get(key, default)
        if not isinstance(found, list) or not all(isinstance(value, kind) for value in found):
            raise FormatError(f"{self.path}: its metadata are damaged at {key}, expected a list")
        return found

    def key(self, key: str) -> str:
        """The key with the architecture in its place."""
        return key.format(arch=self.architecture)

    def check_keys(self, known: Collection[str]) -> None:
        """FormatError if the metadata have a key of the architecture that is not known."""
        known = {self.key(key) for key in known}
        for key in self._reader.fields:
            if key.startswith(f"{self.architecture}.") and key not in known:
                raise FormatError(f"{self.path}: its metadata have {key[:80]}, which Marey cannot do")

    def headers(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and type of each tensor; the shape in numpy's order, the outputs first."""
        return {name: (tuple(int(size) for size in reversed(tensor.shape)), tensor.tensor_type.name)
                for name, tensor in self._tensors.items()}

    def tensor(self, name: str) -> np.ndarray:
        """A tensor as float32, dequantised if need be. A tensor that is float32 is a view of the
        file.

        FormatError if a value is NaN or infinite.
        """
        tensor = self._tensors[name]
        shape, kind = tuple(int(size) for size in reversed(tensor.shape)), tensor.tensor_type
        try:
            with np.errstate(all="ignore"):  # damaged scales overflow; their values are refused below
                if kind == GGMLQuantizationType.F32:
                    values = np.asarray(tensor.data, np.float32)
                else:
                    values = quants.dequantize(tensor.data, kind)
        except (NotImplementedError, *DAMAGE):
            raise FormatError(f"{self.path}: tensor {name} is of type {kind.name}, which this version of the "
                              "gguf library cannot turn into float32") from None
        return finite(f"{self.path}: tensor {name}", values.reshape(shape))
