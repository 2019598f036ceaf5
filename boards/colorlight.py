"""The Colorlight i9 on its extension board: ECP5-45F, 25 MHz oscillator, a CMSIS-DAP probe with a
UART.

The pins are those of the i9 module, as https://github.com/wuxx/Colorlight-FPGA-Projects documents
them.
"""

from amaranth.build import Attrs, Clock, Pins, Resource
from amaranth.vendor import LatticeECP5Platform
from amaranth_boards.resources import UARTResource

from ..hdl.spec.config import preset
from .board import Board


class Platform(LatticeECP5Platform):
    """The pins that a tile needs; amaranth-boards does not know this board."""

    device, package, speed = "LFE5U-45F", "BG381", "6"
    default_clk = "clk25"
    resources: tuple[Resource, ...] = (
        Resource("clk25", 0, Pins("P3", dir="i"), Clock(25e6), Attrs(IO_TYPE="LVCMOS33")),
        UARTResource(0, rx="H18", tx="J17", attrs=Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP")),
    )
    connectors = ()


BOARDS = [Board(
    name="colorlight-i9", title="Colorlight i9", platform=Platform, tile=preset("ecp5_8x8_int4"), clock_hz=80e6, baud=115_200,
    programmer=("openFPGALoader", "-b", "colorlight-i9", "{file}"),
)]
