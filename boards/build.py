"""A board's bitstream, from its design, and the report of it."""

import time
from collections.abc import Callable
from pathlib import Path

from ..sw.program.program import Program
from ..sw.runtime.burn import flash_image
from ..sw.views.fit import speed
from . import flow
from .board import Board
from .slices import slices


def synthesise(board: Board, folder: Path, say: Callable[[str], None]) -> None:
    """The board's netlist, in a folder that is made if it is not there; `say` is told what takes long."""
    folder.mkdir(parents=True, exist_ok=True)
    say(f"{board.title}: synthesis ... (minutes the first time; {folder}/yosys.log)")
    flow.design(board, folder)
    flow.synthesise(board, folder)


def build(board: Board, folder: Path, program: Program | None = None, *, seed: int = 1, by_slice: bool = False,
          say: Callable[[str], None] = lambda line: None) -> dict:
    """Synthesises, places, routes and packs; of what the folder has already, only what a program changes: seconds.

    Returns {"board", "device", "config", "clock_mhz_target", "clock_mhz_met", "resources", "critical_path", "bitstream",
    "seconds"}; with `by_slice` "slices", by component; with a program "model", "cycles_a_token" in the middle of its context,
    "tokens_per_second" at the board's clock or at what was met if that is less, and "flash", the file for the board's flash.
    MareyError, before all that, for a program that cannot be burned in.
    """
    begun = time.monotonic()
    if program:
        program.check_burnable(board.tile)
    synthesise(board, folder, say)
    flow.image(folder).unlink(missing_ok=True)
    if program and board.flash_at is not None:
        flow.image(folder).write_bytes(flash_image(program))
    say(f"{board.title}: place and route ... (minutes the first time; {folder}/{flow.family(board).nextpnr}.log)")
    result = {"board": board.name, "device": board.device, "config": board.tile.name,
              "clock_mhz_target": board.clock_hz / 1e6, **flow.place(board, folder, seed, say),
              "bitstream": str(flow.pack(board, folder, program)), "seconds": round(time.monotonic() - begun)}
    if by_slice:
        say(f"{board.title}: what each component takes ...")
        result["slices"] = slices(board, folder)
    if program:
        result |= {"model": program.name, "cycles_a_token": program.cycles(program.model.context // 2),
                   "flash": str(flow.image(folder)) if flow.image(folder).exists() else None,
                   "tokens_per_second": speed(program, min(board.clock_hz, result["clock_mhz_met"] * 1e6))}
    return result
