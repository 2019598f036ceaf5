"""Reads the numpy archive that a program file is."""

import zipfile
from pathlib import Path

import numpy as np

LARGEST = 1 << 32
"""The most bytes, over all arrays, that an archive may unpack to."""


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an archive, by name. BadZipFile if a checksum is wrong, or if they are larger
    than `LARGEST` bytes."""
    with path.open("rb") as file:
        with zipfile.ZipFile(file) as archive:
            if sum(member.file_size for member in archive.infolist()) > LARGEST or archive.testzip() is not None:
                raise zipfile.BadZipFile
        file.seek(0)
        with np.load(file, allow_pickle=False) as archive:
            return dict(archive)
