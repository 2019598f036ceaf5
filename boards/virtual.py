"""The virtual board: simulates the netlist that would go onto a board, at its pins."""

import re
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from ..hdl.dram.power_up import PowerUp
from ..hdl.link.uart import BITS
from ..sim.pins import TOP, Pins
from ..sim.terminal import Terminal
from ..sw.program.program import Program
from .board import Board
from .cells import LINT, cell_models
from .chip import attached
from .flow import NAME
from .memories import Burner, contents, rams
from .top import SETTLING

AWAKE = 1 << 24
"""Clock cycles without a byte after which the simulation rests: more than a token takes, from
external memory too, or the link's time-out."""

_STRIDE = 2048
"""Clock cycles between two looks at the terminal: the time of a few bytes."""

_BUFFERED_BYTES = 12288
"""Bytes that the host can write to a terminal before anybody reads them: the size of the kernel's
buffer."""


def netlist(board: Board, folder: Path, program: Program | None = None) -> str:
    """The Verilog of a board's netlist and of the models of its cells; the top module is `pins`,
    with clk, rx and tx. A board with SDRAM has the model of its chip, whose rules are asserted.

    `folder` contains what `marey.boards.flow.synthesise` wrote. A program is put into an ECP5's
    block RAMs. MareyError if the design has no place for it; ToolError if Yosys, which has the
    models, is not installed.
    """
    clock = board.platform().default_clk
    uart = "{}_{}".format(*board.uart)
    # Each pin gets a wire of its own, since the netlist's pins are inout.
    # A cell of a pin has an inout port, to which Verilator connects no input or output of the module.
    text = re.sub(r"^  (input|output) (\[\d+:0\] )?(\w+__io);", r"  inout \2\3;", Path(folder, "netlist.v").read_text(),
                  flags=re.MULTILINE)
    if board.is_ecp5:
        text = Burner(rams(Path(folder, f"{NAME}.il").read_text()), contents(board.tile, program)).netlist(text)
    chip = attached(board, text)
    wrapper = (f"module {TOP}(input clk, input rx, output tx);\n"
               "  wire clk_pin, rx_pin;\n  assign clk_pin = clk;\n  assign rx_pin = rx;\n"
               f"{chip.wires}  {NAME} board(.{clock}_0__io(clk_pin), .{uart}__rx__io(rx_pin), .{uart}__tx__io(tx)"
               f"{chip.ports});\nendmodule\n")
    return "\n".join([wrapper, chip.netlist, cell_models(board.is_ecp5), chip.models])


def virtual_board(board: Board, folder: Path, program: Program | None = None) -> Pins:
    """A simulation of the synthesised board in a folder, whose UART runs at the board's rate. A board with SDRAM is past the
    start of its chip, during which it hears nothing.

    Its first build takes minutes. Errors are those of `netlist`, and BackendError if the build
    fails.
    """
    timing = board.tile.memory
    pins = Pins(netlist(board, folder, program), f"the virtual {board.title}", simulated_hz(board) / board.baud, LINT,
                gates=True, checked=timing is not None)
    if timing:
        pins.run(timing.rate * (2 * SETTLING + PowerUp.cycles(timing)))
    return pins


def simulated_hz(board: Board) -> float:
    """The clock that the simulation has: the tile's, or that of a chip with several cycles in one of the tile's."""
    return board.clock_hz * (board.tile.memory.rate if board.tile.memory else 1)


def patience(pins: Pins, board: Board) -> float:
    """Seconds that a host should wait for an answer from a virtual board: three times the time to
    simulate a full buffer.

    The speed of the simulation is measured on this machine.
    """
    cycles = 1000
    begun = perf_counter()
    pins.run(cycles)
    return max(10.0, 3 * _BUFFERED_BYTES * BITS * simulated_hz(board) / board.baud * (perf_counter() - begun) / cycles)


def serve(pins: Pins, clock_hz: float, terminal: Terminal, ended: Callable[[], bool] = lambda: False) -> None:
    """Passes bytes between a terminal and the pins until `ended()`.

    They pass the pins at the rate that the host has set the terminal to, counted in clock cycles of
    the simulation, however slowly those are simulated. `clock_hz`: the simulation's clock, see `simulated_hz`.
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
