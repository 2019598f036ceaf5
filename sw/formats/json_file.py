"""JSON files of Hugging Face folders."""

import json
from pathlib import Path

from ..errors import FormatError


def read_json(path: Path, limit_bytes: int) -> dict:
    """The object in a JSON file. FormatError for a file that is missing, larger than the limit,
    damaged, or no object.
    """
    try:
        found = json.loads(read_utf8(path, limit_bytes))
    except (ValueError, RecursionError):
        raise FormatError(f"{path}: damaged, or no JSON") from None
    if not isinstance(found, dict):
        raise FormatError(f"{path}: no JSON object")
    return found


def read_utf8(path: Path, limit_bytes: int) -> str:
    """The text of a file. FormatError if it is missing, larger than the limit, or not UTF-8."""
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    size = path.stat().st_size
    if size > limit_bytes:
        raise FormatError(f"{path}: {size} bytes, too large to be what its name says")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: not UTF-8 at byte {error.start}: damaged?") from None
