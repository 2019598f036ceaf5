"""Radiona's ULX3S: ECP5, 25 MHz oscillator, FT231X."""

from amaranth_boards.ulx3s import ULX3S_45F_Platform, ULX3S_85F_Platform

from ..hdl.config import preset
from .board import Board

BOARDS = [
    Board(name=f"ulx3s-{size}", title=f"ULX3S {size.upper()}", platform=platform, tile=preset(config), clock_hz=80e6,
          programmer=("openFPGALoader", "-b", "ulx3s", "{file}"))
    for size, platform, config in (("45f", ULX3S_45F_Platform, "ecp5_8x8"), ("85f", ULX3S_85F_Platform, "ecp5_8x8_deep"))
]
