"""The Colorlight i9 on its extension board: ECP5-45F, 25 MHz oscillator, a CMSIS-DAP probe with a
UART, 8 MB of SDRAM.

The pins are those of the i9 module, as https://github.com/wuxx/Colorlight-FPGA-Projects documents
them; those of the SDRAM, whose CKE, CS and DQM are wired to fixed levels, are the i5's, which has
the same (litex_boards/platforms/colorlight_i5.py).
"""

from amaranth.build import Attrs, Clock, Pins, Resource
from amaranth.vendor import LatticeECP5Platform
from amaranth_boards.resources import SDRAMResource, UARTResource

from ..hdl.spec.config import preset
from .board import Board


class Platform(LatticeECP5Platform):
    """The pins that a tile needs; amaranth-boards does not know this board."""

    device, package, speed = "LFE5U-45F", "BG381", "6"
    default_clk = "clk25"
    resources: tuple[Resource, ...] = (
        Resource("clk25", 0, Pins("P3", dir="i"), Clock(25e6), Attrs(IO_TYPE="LVCMOS33")),
        UARTResource(0, rx="H18", tx="J17", attrs=Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP")),
        SDRAMResource(
            0, clk="B9", we_n="A10", ras_n="B10", cas_n="A9", ba="B11 C8", a="B13 C14 A16 A17 B16 B15 A14 A13 A12 A11 B12",
            dq="D15 E14 E13 D12 E12 D11 C10 B17 B8 A8 C7 A7 A6 B6 A5 B5 D5 C5 D6 C6 E7 D7 E8 D8 E9 D9 E11 C11 C12 D13 D14 C15",
            attrs=Attrs(IO_TYPE="LVCMOS33", SLEWRATE="FAST")),
    )
    connectors = ()


BOARDS = [
    Board(name=f"colorlight-i9{suffix}", title=f"Colorlight i9{more}", platform=Platform, tile=preset(config),
          clock_hz=mhz * 1e6, baud=115_200, programmer=("openFPGALoader", "-b", "colorlight-i9", "{file}"))
    for suffix, more, config, mhz in (
        ("", "", "ecp5_8x8_int4", 85), ("-sdram", ", SDRAM", "ecp5_8x8_int4_sdram32", 80))
]
