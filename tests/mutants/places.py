"""What is mutated: slices of hardware, each of some configurations, and parts of the software."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from time import monotonic

from . import report, software
from .result import Result

SLICES = {
    "sequencer": ["square", "compact"], "mem": ["square", "windows"], "mxm": ["square", "compact", "nibbles"],
    "vxm": ["gated", "gated_compact"], "scalars": ["square", "compact"], "link": ["square", "compact"], "dram": ["moves"]}
"""Slices of a tile, with the names of the configurations whose netlists are mutated."""


def names() -> list[str]:
    """All places: SLICE:CONFIGURATION, or the part of the software."""
    return [f"{name}:{config}" for name, configs in SLICES.items() for config in configs] + list(software.PARTS)


def results(place: str, count: int, seed: int, skip: set[int], folder: Path) -> Iterator[Result]:
    """Looks for so many mutations of a place but those whose numbers are in `skip`. Number 0 is the original."""
    if place in software.PARTS:
        yield from software.results(place, count, seed, skip, folder)
        return
    # Only here, because a process that mutates software must not have imported it.
    from .hardware import Place
    yield from Place(*place.split(":"), folder, count, seed).results(skip)


def work(root: Path, place: str, count: int, seed: int, again: bool, end: float) -> None:
    """Looks for the mutations of a place, until the clock reaches `end`, and keeps what became of them below the
    folder `root`. If `again`, also for those that no check of `make test` found before, and first without a mutation."""
    folder = root / place.replace(":", "-")
    folder.mkdir(parents=True, exist_ok=True)
    kept = report.kept(folder, seed)
    skip = {result.number for result in kept.values() if not again or report.column(result) not in report.LATE}
    if set(range(count + 1)) <= skip or monotonic() > end:
        return
    for result in results(place, count, seed, skip, folder):
        with report.file(folder, seed).open("a") as file:
            file.write(json.dumps(asdict(result)) + "\n")
        print(f"{place} {result.number} {result.part}: {result.found_by or 'not found'}, {result.seconds} s", flush=True)
        if monotonic() > end:
            return
