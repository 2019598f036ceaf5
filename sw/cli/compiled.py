"""Compiled models in the cache folder: a command on a model that an earlier one has compiled reads the program from there.

The name of a program is a digest of all that it is made from: the files of the model and of its tokenizer, the
configuration, the context, and the source code and the libraries that make it. What is damaged, or cannot be read or
written, is as if it were not there. A program is checked against the rules of the tile whenever it is read.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from ... import hdl, sw
from ...hdl.spec.config import Config
from ...hdl.spec.errors import MareyError
from ...sim import cache as files
from ..errors import FormatWarning
from ..formats import files_of
from ..model.config import ModelConfig
from ..program.program import DAMAGE, Program
from ..quant.model import QuantisedModel
from . import calibrations

MOST_BYTES = 1 << 30
"""Bytes that all kept programs together may take; the one that was not used for longest goes first."""
WORTH_KEEPING_S = 0.5
"""Seconds of work from which on its result is kept."""
PROGRAM, FACTS = ".compiled", ".facts"
"""Suffixes of the two files of a compiled model: its program, and in JSON the rest."""
LIBRARIES = ("numpy", "tokenizers", "gguf")
"""Libraries whose results are in a program."""


@dataclass(frozen=True)
class Compiled:
    """A program, and the integer model that it computes; None if the program comes from a program file."""

    program: Program
    quantised: QuantisedModel | None


def name_of(path: Path | str, tokenizer: Path | str | None, config: Config, context: int | None) -> str | None:
    """The name under which the program of a model file is kept, 32 hexadecimal digits; None if a file of the model cannot
    be read. The parameters are those of `compile_model_file`."""
    with suppress(OSError, MareyError):
        digest = hashlib.sha256(f"{_makers()} {Path(path).name} {tokenizer} {asdict(config)} {context}".encode())
        for file in files_of(path, tokenizer):
            with file.open("rb") as opened:
                digest.update(f"{file.name} {hashlib.file_digest(opened, 'sha256').hexdigest()}".encode())
        return digest.hexdigest()[:32]
    return None


def find(name: str) -> Compiled | None:
    """The compiled model that is kept under a name, or None. Prints the warnings that its files gave when they were read."""
    with suppress(*DAMAGE, MareyError):
        if (facts_file := files.find(name, FACTS)) and (file := files.find(name, PROGRAM)):
            facts = json.loads(facts_file.read_text())
            if integers := calibrations.load(facts["quantised"], ModelConfig(**facts["shape"])):
                found = Compiled(Program.load(file), integers)
                os.utime(file)
                for text in facts["warnings"]:
                    warnings.warn(text, FormatWarning, stacklevel=2)
                return found
    return None


def keep(name: str, compiled: Compiled, quantised: str, shape: ModelConfig, warned: Sequence[str]) -> None:
    """Keeps a compiled model under a name, if the cache folder can be used.

    `quantised`: name of its integers, see `calibrations.name_of`. `shape`: of the model as it was read, before the quantiser
    has rewritten it. `warned`: what the user was told about its files.
    """
    def program(folder):
        compiled.program.save(folder / "program")
        return folder / "program"

    def facts(folder):
        (folder / "facts").write_text(json.dumps({"quantised": quantised, "shape": asdict(shape), "warnings": list(warned)}))
        return folder / "facts"

    with suppress(OSError, MareyError):
        files.kept(name, PROGRAM, program)
        files.kept(name, FACTS, facts)
        files.remove_oldest(f"*{PROGRAM}", MOST_BYTES)


@cache
def _makers() -> str:
    """The digest of the source code, and the versions of the libraries, that make a program."""
    content = hashlib.sha256(" ".join(version(library) for library in LIBRARIES).encode())
    for package in (hdl, sw):
        for source in sorted(Path(package.__file__).parent.rglob("*.py")):
            content.update(source.read_bytes())
    return content.hexdigest()
