"""The virtual board: the netlist that would go onto a board, simulated at its pins."""

import re
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from ..hdl.link.uart import BITS
from ..sim.pins import TOP, Pins
from ..sim.terminal import Terminal
from ..sw.program.program import Program
from .board import Board
from .cells import ecp5_cells
from .flow import NAME
from .memories import Burner, contents, rams
from .tools import share

AWAKE = 1 << 22
"""Clock cycles after the last byte in which the clock still runs: more than a token takes, and the link's silence."""

_STRIDE = 2048
"""Clock cycles between two looks at the terminal: no more than a few bytes' time."""

_HELD = 12288
"""Bytes that the kernel keeps of what the host has written to a terminal."""

CELLS = Path(__file__).with_name("cells.v")

# What the vendors' cell models, which are written for other simulators, do in ways that Verilator would rather they did not.
_LINT = ("MODDUP", "SPECIFYIGN", "TIMESCALEMOD", "PINMISSING", "IMPLICIT", "WIDTH", "SELRANGE", "MULTITOP", "BLKSEQ",
         "COMBDLY", "INITIALDLY", "STMTDLY", "UNSIGNED", "CMPCONST", "LATCH", "NOLATCH", "MULTIDRIVEN", "DECLFILENAME")


def netlist(board: Board, folder: Path, program: Program | None = None) -> str:
    """The Verilog of a synthesised board, with the models of its cells, as a module `pins`: clk, rx, tx.

    A program is burned into an ECP5's block RAMs.
    """
    clock = board.platform().default_clk
    uart = "{}_{}".format(*board.uart)
    shared = share("yosys") / ("ecp5" if board.is_ecp5 else "ice40")
    # The pins are wires of their own, since a chip's cell could drive any of them.
    wrapper = (f"module {TOP}(input clk, input rx, output tx);\n"
               "  wire clk_pin, rx_pin;\n  assign clk_pin = clk;\n  assign rx_pin = rx;\n"
               f"  {NAME} board(.{clock}_0__io(clk_pin), .{uart}__rx__io(rx_pin), .{uart}__tx__io(tx));\nendmodule\n")
    # A pin cell's side to the pin is inout, whatever the pin is; and an input could not be connected to it.
    text = re.sub(r"^  (input|output) (\w+__io);", r"  inout \2;", Path(folder, "netlist.v").read_text(), flags=re.MULTILINE)
    if board.is_ecp5:
        text = Burner(rams(Path(folder, f"{NAME}.il").read_text()), contents(board.tile, program)).netlist(text)
    cells = CELLS.read_text() + (ecp5_cells() if board.is_ecp5 else "")
    return "\n".join([wrapper, text, cells, _included(shared, "cells_sim.v")])


def virtual_board(board: Board, folder: Path, program: Program | None = None) -> Pins:
    """The synthesised board in a folder, in a simulator, its UART at the board's rate."""
    return Pins(netlist(board, folder, program), f"the virtual {board.title}", board.clock_hz / board.baud, _LINT, gates=True)


def patience(pins: Pins, board: Board) -> float:
    """Seconds that a host should wait for an answer: as this machine simulates the bytes that a terminal holds, thrice."""
    cycles = 1000
    begun = perf_counter()
    pins.run(cycles)
    return max(10.0, 3 * _HELD * BITS * board.clock_hz / board.baud * (perf_counter() - begun) / cycles)


def serve(pins: Pins, clock_hz: float, terminal: Terminal, ended: Callable[[], bool] = lambda: False) -> None:
    """Lets whoever opens the terminal talk to the pins, at the rate that the terminal is set to, until `ended`.

    Bytes pass the pins at the board's own pace, in its clock cycles, however slowly those are simulated.
    """
    idle = 0
    while not ended():
        asleep = idle >= AWAKE
        if data := terminal.read(0.05 if asleep else 0) if pins.waiting == 0 else b"":
            if terminal.baud:
                pins.set_bit(clock_hz / terminal.baud)
            pins.send(data)
            idle = 0
        elif asleep:
            continue
        if answer := pins.run(_STRIDE):
            terminal.write(answer)
            idle = 0
        elif pins.waiting == 0:
            idle += _STRIDE


def _included(folder, name):
    """A Verilog file and those that it includes, as one text."""
    return re.sub(r'^`include "(.*)"$', lambda found: _included(folder, found[1]), Path(folder, name).read_text(),
                  flags=re.MULTILINE)
