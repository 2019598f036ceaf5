"""Lattice's iCE40-HX8K breakout board: no multipliers, 16 KB of block RAM; 12 MHz oscillator,
FT2232H."""

from amaranth_boards.ice40_hx8k_b_evn import ICE40HX8KBEVNPlatform

from ..hdl.spec.config import preset
from .board import Board

BOARDS = [Board(
    name="hx8k", title="iCE40-HX8K breakout", platform=ICE40HX8KBEVNPlatform, tile=preset("hx8k_2x2"), clock_hz=36e6,
    programmer=("openFPGALoader", "-b", "ice40_generic", "{file}"),
)]
