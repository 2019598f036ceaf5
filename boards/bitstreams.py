"""Builds the bitstreams of all boards, and writes docs/boards.md about them.

    python -m marey.boards.bitstreams [BOARD ...]

The results are kept in builds.json, by board, with the commit that was built; docs/boards.md shows
all that are there. The exit status is 1 if a board does not meet its clock.
"""

import json
import subprocess
import sys
from pathlib import Path

import click

from ..hdl.spec.errors import MareyError
from ..sim.files import write_file
from . import records
from .all import BOARDS, board_named
from .build import build

PAGE = Path(__file__).resolve().parents[1] / "docs" / "boards.md"

_INTRODUCTION = """\
`make bitstreams` builds the bitstream of every board with the open tools and writes this page. All
figures are results of synthesis, place and route; no board was needed for them.
[recipes/board.md](recipes/board.md) says how to add a board.

- **tile**: the configuration of the board's tile, a preset of `hdl/spec/config.py`.
- **LUT**, **logic cells**, **FF** (flip-flops), **block RAM**, **DSP** (multipliers), **SPRAM**
  (single-port RAMs of 32 KB): cells of the FPGA that are used. A logic cell of an iCE40 contains a
  LUT and a flip-flop.
- **MHz asked**: the tile's clock on the board. **MHz met**: the fastest clock that nextpnr reckons
  to be safe.
- **minutes**: how long the build took. **commit**: what was built.

Below the table, each board has its slowest path, as the components and signals along it, and the
cells that each component uses. A second synthesis counts these. It keeps the components apart, so
that nothing is shared between them, and it counts LUTs before they are packed; its figures differ
from those of the table for both reasons. The line of a component includes the components inside it;
`inside.tile` is the tile.""".splitlines()

_COLUMNS = {"lut": "LUT", "lc": "logic cells", "ff": "FF", "bram": "block RAM", "dsp": "DSP", "spram": "SPRAM"}
"""Titles of the page's columns, by resource. No family has all of these resources."""


def page(known: dict[str, dict]) -> str:
    """The page about the builds {board: result}, as Markdown: a table of all, then a section for
    each."""
    lines = ["# The boards and their bitstreams", "", *_INTRODUCTION, "",
             f"| board | tile | {' | '.join(_COLUMNS.values())} | MHz asked | MHz met | minutes | commit |",
             f"|---|---|{'---:|' * (len(_COLUMNS) + 3)}---|"]
    for found in known.values():
        row = "| {board} | `{config}` | {cells} | {clock_mhz_target:g} | {clock_mhz_met} | {minutes:.0f} | {commit} |"
        lines.append(row.format(cells=_cells(found["resources"]), minutes=found["seconds"] / 60, **found))
    for found in known.values():
        path = " > ".join(f"`{name}`" for name in found["critical_path"])
        lines += ["", f"## {found['board']}", "", f"Slowest path: {path}.", "",
                  f"| component | {' | '.join(_COLUMNS.values())} |", f"|---|{'---:|' * len(_COLUMNS)}"]
        lines += [f"| {name} | {_cells(taken)} |" for name, taken in found["slices"].items() if any(taken.values())]
    return "\n".join(lines) + "\n"


def _cells(taken):
    """The cells of a row for {resource: count}; a cell is empty for 0."""
    return " | ".join(f"{taken[column]:,}" if taken.get(column) else "" for column in _COLUMNS)


def commit() -> str:
    """The commit that is checked out, with "-dirty" behind it if files were changed since."""
    return subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=10"], cwd=Path(__file__).parent,
                          capture_output=True, text=True, check=True).stdout.strip()


@click.command()
@click.argument("boards", nargs=-1)
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), default=Path("build"), show_default=True,
              help="Folder in which each board gets a folder.")
def main(boards, output):
    """Build the bitstreams of BOARDS, or of all boards, and write docs/boards.md."""
    try:
        chosen = [board_named(name) for name in boards] or BOARDS.values()
        made_from, late = commit(), []
        for board in chosen:
            result = build(board, output / board.name, by_slice=True, say=lambda line: click.echo(line, err=True))
            kept = {key: value for key, value in result.items() if key != "bitstream"} | {"commit": made_from}
            known = records.builds() | {board.name: kept}
            known = {name: known[name] for name in BOARDS if name in known}
            write_file(records.BUILDS, json.dumps(known, indent=1) + "\n")
            write_file(PAGE, page(known))
            if result["clock_mhz_met"] < result["clock_mhz_target"]:
                late.append("{board} meets {clock_mhz_met} MHz of {clock_mhz_target:g}".format(**result))
    except MareyError as error:
        raise click.ClickException(str(error)) from None
    if late:
        sys.exit("; ".join(late))


if __name__ == "__main__":
    main()
