"""docs/mutants.md: what became of the mutations."""

import json
from pathlib import Path

from .result import Result

PAGE = Path(__file__).parents[2] / "docs" / "mutants.md"


def file(folder: Path, seed: int) -> Path:
    """The file that keeps the results of a place, a line each."""
    return folder / f"results-{seed}.jsonl"


def kept(folder: Path, seed: int) -> dict[int, Result]:
    """The results that a place's folder keeps, by number: of each mutation the last."""
    path = file(folder, seed)
    lines = path.read_text().splitlines() if path.exists() else []
    return {facts["number"]: Result(**facts) for facts in map(json.loads, lines)}


def write(folder: Path, seed: int, names: list[str]) -> None:
    """Writes the page."""
