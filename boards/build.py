"""Builds a board's bitstream, and reports what it uses and how fast it is."""

import time
from collections.abc import Callable
from pathlib import Path

from ..sim.files import write_file
from ..sw.program.program import Program
from ..sw.runtime.burn import flash_image
from ..sw.views.speed import middle, tokens_per_second
from . import flow
from .board import Board
from .families import family
from .records import builds
from .slices import slices


def synthesise(board: Board, folder: Path, say: Callable[[str], None]) -> None:
    """Writes a board's netlist to a folder, which is made if it is not there.

    `say` gets a line before each long step.
    """
    folder.mkdir(parents=True, exist_ok=True)
    say(f"{board.title}: synthesis ... ({_duration(board)}; {folder}/yosys.log)")
    flow.design(board, folder)
    flow.synthesise(board, folder)


def _duration(board):
    """Says how long a build takes in which nothing can be used again, as `make bitstreams` recorded it."""
    seconds = builds().get(board.name, {}).get("seconds")
    return f"a whole build takes about {seconds} seconds, the first time" if seconds else "minutes the first time"


def build(board: Board, folder: Path, program: Program | None = None, *, seed: int = 1, by_slice: bool = False,
          say: Callable[[str], None] = lambda line: None) -> dict:
    """Synthesises, places, routes and packs a board's bitstream, with a program burned in if one is
    given.

    What the folder has from a build before is used again, so that another program takes seconds.
    `seed` is the first seed for place and route. `say` gets a line before each long step.

    Returns {"board", "device", "config", "clock_mhz_target", "clock_mhz_met", "resources",
    "critical_path", "bitstream", "seconds"}. With `by_slice` also "slices", the cells of each
    component. With a program also "model"; "cycles_a_token", in the middle of the context;
    "tokens_per_second", at the slower of the board's clock and the one that was met; and "flash",
    the file for the board's flash, or None.

    MareyError, before any work, if the program cannot be burned into the board's tile. ToolError if
    a tool fails.
    """
    begun = time.monotonic()
    if program:
        program.check_burnable(board.tile)
    synthesise(board, folder, say)
    flow.image(folder).unlink(missing_ok=True)
    if program and board.flash_at is not None:
        write_file(flow.image(folder), flash_image(program))
    say(f"{board.title}: place and route ... ({_duration(board)}; {folder}/{family(board).nextpnr}.log)")
    result = {"board": board.name, "device": board.device, "config": board.tile.name,
              "clock_mhz_target": board.clock_hz / 1e6, **flow.place(board, folder, seed, say),
              "bitstream": str(flow.pack(board, folder, program)), "seconds": round(time.monotonic() - begun)}
    if by_slice:
        say(f"{board.title}: what each component takes ...")
        result["slices"] = slices(board, folder)
    if program:
        result |= {"model": program.name, "cycles_a_token": program.cycles(program.model.context // 2),
                   "flash": str(flow.image(folder)) if flow.image(folder).exists() else None,
                   "tokens_per_second": tokens_per_second(
                       program, min(board.clock_hz, result["clock_mhz_met"] * 1e6), middle(program))}
    return result
