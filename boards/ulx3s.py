"""Radiona's ULX3S: ECP5, 25 MHz oscillator, FT231X."""

from amaranth_boards.ulx3s import ULX3S_45F_Platform, ULX3S_85F_Platform

from ..hdl.spec.config import preset
from .board import Board

BOARDS = [
    Board(name=f"ulx3s-{kind}", title=f"ULX3S {title}", platform=platform, tile=preset(config), clock_hz=mhz * 1e6,
          programmer=("openFPGALoader", "-b", "ulx3s", "{file}"))
    for kind, title, platform, config, mhz in (
        ("45f", "45F", ULX3S_45F_Platform, "ecp5_8x8", 85),
        ("45f-int4", "45F, weights of 4 bits", ULX3S_45F_Platform, "ecp5_8x8_int4", 85),
        ("85f", "85F", ULX3S_85F_Platform, "ecp5_8x16", 87.5),
        ("85f-sdram", "85F, SDRAM", ULX3S_85F_Platform, "ecp5_8x8_sdram", 70),
        ("85f-sdram-int4", "85F, SDRAM, weights of 4 bits", ULX3S_85F_Platform, "ecp5_8x8_int4_sdram", 70))
]
