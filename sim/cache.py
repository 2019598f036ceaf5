"""The cache: files that take seconds or minutes to make, kept for the next start of Marey.

The folder is the one that the environment variable MAREY_CACHE names, else `marey` in the user's
cache folder. All in it can be deleted at any time.
"""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import platformdirs

from . import files
from .simulation import BackendError

_WORK = "making-"
"""How the names of the folders begin in which files are made."""

_ABANDONED_S = 24 * 3600
"""Age in seconds from which such a folder belongs to a process that was killed: nothing takes so
long to make."""


class CacheError(BackendError):
    """The cache folder cannot be made or written."""

    def __init__(self, folder: Path, error: OSError):
        super().__init__(f"the cache folder {folder} cannot be used ({error.strerror or error}): name another in "
                         "the environment variable MAREY_CACHE")


def cache_folder() -> Path:
    """The cache folder, which is made if it is not there.

    CacheError if it cannot be made or written.
    """
    folder = Path(os.environ.get("MAREY_CACHE") or platformdirs.user_cache_dir("marey")).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CacheError(folder, error) from None
    return folder


def digest(*parts: str) -> str:
    """A name for what is made from these texts: 32 hexadecimal digits."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def find(name: str, suffix: str) -> Path | None:
    """The cached file that `kept` once kept by this name; None if it is missing or damaged. CacheError if the folder cannot
    be used."""
    folder = cache_folder()
    try:
        for file in folder.glob(f"{name}-*{suffix}"):
            # Another process may remove a damaged file at the same time.
            with suppress(FileNotFoundError):
                if file.stem == f"{name}-{_content_digest(file)}":
                    return file
                file.unlink()
    except OSError as error:
        raise CacheError(folder, error) from None
    return None


def kept(name: str, suffix: str, make: Callable[[Path], Path]) -> Path:
    """The cached file that `make` once made; it is made again if it is missing or damaged.

    `name`: `digest` of all that the file is made from. `make(folder)` makes the file in an empty
    folder, which is removed afterwards, and returns its path. CacheError if the disk is full, or
    the folder cannot be written.

    A file's name ends with the digest of its content, by which damage is found.
    """
    if file := find(name, suffix):
        return file
    folder = cache_folder()
    try:
        _remove_abandoned(folder)
        with tempfile.TemporaryDirectory(prefix=_WORK, dir=folder) as work:
            made = make(Path(work))
            file = folder / f"{name}-{_content_digest(made)}{suffix}"
            files.replace(made, file)
    except OSError as error:
        raise CacheError(folder, error) from None
    return file


def remove_oldest(pattern: str, most_bytes: int) -> None:
    """Removes those of the cached files whose names match a pattern that were not used for longest, until the rest take at
    most `most_bytes`. A file was used when it was last changed: see `os.utime`. CacheError if the folder cannot be used."""
    with suppress(FileNotFoundError):  # another process may remove one at the same time
        total_bytes = 0
        for file in sorted(cache_folder().glob(pattern), key=lambda file: file.stat().st_mtime, reverse=True):
            total_bytes += file.stat().st_size
            if total_bytes > most_bytes:
                file.unlink(missing_ok=True)


def _content_digest(file):
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:16]


def _remove_abandoned(folder):
    """Removes the work folders of processes that were killed."""
    for work in folder.glob(f"{_WORK}*"):
        with suppress(FileNotFoundError):
            if time.time() - work.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(work, ignore_errors=True)
