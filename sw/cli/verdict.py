"""What a model loses in integers, said in one line by the commands that use it, and refused where it is too much."""

import hashlib
from contextlib import suppress
from pathlib import Path

import click

from ...hdl.spec.errors import MareyError
from ...sim.cache import cache_folder
from ...sim.files import write_file
from ..formats.sources import located
from .calibrations import SOURCES

NOTICED = 1.05
"""The ratio of perplexities from which a loss is worth a warning."""
WORST = 2.0
"""The ratio above which a model is refused."""
FORCE = click.option("--force", is_flag=True,
                     help=f"Use a model whose perplexity in the tile's integers is more than {WORST:g} times float32's, too.")


class QualityError(MareyError):
    """The integers of a model are far worse than the model."""


def judge(name: str, quality: float | None, force: bool = True) -> None:
    """Prints a warning if the model `name` is worse in integers than `NOTICED`. QualityError for one worse than `WORST`,
    unless `force`. `quality`: see `marey.sw.quant.quality`; None says nothing."""
    if quality is None or quality <= NOTICED:
        return
    if quality > WORST and not force:
        raise QualityError(f"{said(name, quality)}: too much to be of use; --force runs it all the same")
    click.echo(f"marey: warning: {said(name, quality)}: marey eval --layers says where it is lost", err=True)


def said(name: str, quality: float) -> str:
    """The loss in words."""
    return f"{name}: perplexity in the tile's integers is x{quality:.2f} of float32's, on text that the model writes"


def remember(path: Path | str, bits: int, quality: float | None) -> None:
    """Keeps the quality of a model file with weights of so many bits, for commands that read only its header."""
    with suppress(OSError, MareyError):
        if quality is not None:
            write_file(_file(path, bits), f"{quality!r}\n")


def recall(path: Path | str, bits: int) -> float | None:
    """The quality that `remember` has kept for this content of a file or folder, or None."""
    with suppress(OSError, MareyError, ValueError):
        return float(_file(path, bits).read_text())
    return None


def _file(path, bits):
    """Where the quality is kept: by the path, the sizes and the times of change of the model's files, and the source code of
    the quantiser."""
    path, digest = located(path, weights=False).resolve(), hashlib.sha256()
    for file in sorted(each for each in (path, *path.glob("*")) if each.is_file()):
        digest.update(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns} ".encode())
    for source in sorted(SOURCES):
        digest.update(source.read_bytes())
    return cache_folder() / f"quality-{digest.hexdigest()[:32]}-{bits}.txt"
