"""The UPduino v3: iCE40 UP5K, 12 MHz oscillator, FT232H.

Its FT232H has one channel, which writes the flash first and is the UART afterwards, on the same
wires.
"""

from amaranth.build import Attrs, Resource
from amaranth_boards.resources import UARTResource
from amaranth_boards.upduino_v3 import UpduinoV3Platform

from ..hdl.spec.config import preset
from .board import Board


class Platform(UpduinoV3Platform):
    """The board with a UART, and with the oscillator as clock: the FPGA's own is not exact enough
    for a UART."""

    default_clk = "clk12"
    resources: tuple[Resource, ...] = (
        *UpduinoV3Platform.resources, UARTResource(0, rx="15", tx="14", attrs=Attrs(IO_STANDARD="SB_LVCMOS", PULLUP=1)))


BOARDS = [Board(
    name="upduino", title="UPduino v3", platform=Platform, tile=preset("up5k_4x4"), clock_hz=27e6,
    programmer=("openFPGALoader", "-b", "ice40_generic", "{file}"),
    note="solder the jumper OSC, which brings the oscillator to pin 20",
)]
