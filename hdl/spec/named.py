"""The configuration that a text names: a preset, a TOML file, or one of them with changes."""

import difflib
import re
import tomllib
from dataclasses import asdict
from pathlib import Path

from .config import Config, ConfigError, preset
from .field import options

LARGEST = 1 << 16
"""Bytes of a TOML file; a larger one is not read."""
FORM = re.compile(r"(.*\.toml|[^,]*)(?:,(.*))?", re.DOTALL)
"""A preset or a file, and the changes behind a comma."""
OPTIONS = {field.name: field for field in options(Config)}
BASE = "preset"
"""The key of a TOML file that names the preset from which fields come that the file does not have."""


def configuration(text: str) -> Config:
    """The configuration that `PRESET`, `FILE.toml`, `PRESET,FIELD=NUMBER,...` or `FILE.toml,FIELD=NUMBER,...` names.

    A file has a line `FIELD = NUMBER` for each field without a default, and for any other; with a line
    `preset = "NAME"`, the fields that it leaves out are the preset's. The configuration's name is `text`, so that it
    names the same one again; its hash depends on the fields alone. ConfigError, in one line, for all else.
    """
    base, changes = FORM.fullmatch(text).groups()
    fields = _from_file(Path(base)) if base.endswith(".toml") else asdict(preset(base))
    if changes is not None:
        fields |= _changed(text, changes)
    elif not base.endswith(".toml"):
        return preset(base)
    return Config(**fields | {"name": text})


def _changed(text: str, changes: str) -> dict[str, int]:
    """The fields in `FIELD=NUMBER,FIELD=NUMBER`. ConfigError for an unknown field, one that comes twice, or no number."""
    found: dict[str, int] = {}
    for change in changes.split(","):
        name, equals, value = (part.strip() for part in change.partition("="))
        if not equals or not re.fullmatch(r"-?[0-9]{1,19}", value):
            raise ConfigError(f"configuration {text!r}: {change!r} is no change: write FIELD=NUMBER, such as rows=16")
        check_field(text, name)
        if name in found:
            raise ConfigError(f"configuration {text!r}: gives {name} twice")
        found[name] = int(value)
    return found


def _from_file(path: Path) -> dict[str, int]:
    """The fields of a TOML file, those of its preset included. ConfigError if it cannot be read or lacks fields."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ConfigError(f"{path}: more than {LARGEST:,} bytes, too large for a configuration")
        fields = tomllib.loads(content.decode("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: is no TOML text: {' '.join(str(error).split())}") from None
    base = fields.pop(BASE, None)
    if base is not None and not isinstance(base, str):
        raise ConfigError(f"{path}: {BASE} must be the name of a preset in quotes, not {base!r}")
    for name in fields:
        check_field(str(path), name)
    try:
        known = {} if base is None else asdict(preset(base))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    if missing := [name for name, field in OPTIONS.items() if field.default is None and name not in known | fields]:
        raise ConfigError(f"{path}: lacks {', '.join(missing)}: add them, or a line {BASE} = \"sim8x8\"")
    return known | fields


def check_field(where: str, name: str) -> None:
    """ConfigError for a name that no field has."""
    if name not in OPTIONS:
        near = difflib.get_close_matches(name, OPTIONS, 1)
        cure = f"did you mean {near[0]}?" if near else f"there are {', '.join(OPTIONS)}"
        raise ConfigError(f"configuration {where!r}: no field {name!r}: {cure}")
