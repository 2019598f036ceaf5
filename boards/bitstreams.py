"""The bitstreams of boards, one after the other, and the page of what they took.

    python -m marey.boards.bitstreams [BOARD ...]

Each result takes its place in builds.json, by board, with the commit that it was made from; docs/boards.md shows them all.
Exit status 1 if a board's clock was not met.
"""

import json
import subprocess
import sys
from pathlib import Path

import click

from ..hdl.spec.errors import MareyError
from . import records
from .all import BOARDS, board_named
from .build import build

PAGE = Path(__file__).parents[1] / "docs" / "boards.md"

_COLUMNS = {"lut": "LUT", "lc": "logic cells", "ff": "FF", "bram": "block RAM", "dsp": "DSP", "spram": "SPRAM"}
"""Resources, of which a family has some, and their names."""


def page(known: dict[str, dict]) -> str:
    """Markdown: a table of builds, and each one's critical path and slices."""
    lines = ["# What the boards' bitstreams take", "", "`make bitstreams` builds them and writes this page.", "",
             f"| board | tile | {' | '.join(_COLUMNS.values())} | MHz asked | MHz met | minutes | commit |",
             f"|---|---|{'---:|' * (len(_COLUMNS) + 3)}---|"]
    for found in known.values():
        row = "| {board} | `{config}` | {cells} | {clock_mhz_target:g} | {clock_mhz_met} | {minutes:.0f} | {commit} |"
        lines.append(row.format(cells=_cells(found["resources"]), minutes=found["seconds"] / 60, **found))
    for found in known.values():
        path = " > ".join(f"`{name}`" for name in found["critical_path"])
        lines += ["", f"## {found['board']}", "", f"Critical path: {path}.", "",
                  f"| component | {' | '.join(_COLUMNS.values())} |", f"|---|{'---:|' * len(_COLUMNS)}"]
        lines += [f"| {name} | {_cells(taken)} |" for name, taken in found["slices"].items() if any(taken.values())]
    return "\n".join(lines) + "\n"


def _cells(taken):
    """A row's cells of resources; empty where there is nothing."""
    return " | ".join(f"{taken[column]:,}" if taken.get(column) else "" for column in _COLUMNS)


def commit() -> str:
    """Of the working tree, "-dirty" where it has changes."""
    return subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=10"], cwd=Path(__file__).parent,
                          capture_output=True, text=True, check=True).stdout.strip()


@click.command()
@click.argument("boards", nargs=-1)
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), default=Path("build"), show_default=True,
              help="Folder of the boards' folders.")
def main(boards, output):
    """Build the bitstreams of BOARDS, or of every board."""
    try:
        chosen = [board_named(name) for name in boards] or BOARDS.values()
        made_from, late = commit(), []
        for board in chosen:
            result = build(board, output / board.name, by_slice=True, say=lambda line: click.echo(line, err=True))
            kept = {key: value for key, value in result.items() if key != "bitstream"} | {"commit": made_from}
            known = records.builds() | {board.name: kept}
            known = {name: known[name] for name in BOARDS if name in known}
            records.BUILDS.write_text(json.dumps(known, indent=1) + "\n")
            PAGE.write_text(page(known))
            if result["clock_mhz_met"] < result["clock_mhz_target"]:
                late.append("{board} meets {clock_mhz_met} MHz of {clock_mhz_target:g}".format(**result))
    except MareyError as error:
        raise click.ClickException(str(error)) from None
    if late:
        sys.exit("; ".join(late))


if __name__ == "__main__":
    main()
