"""1BitSquared's iCEBreaker: iCE40 UP5K, 12 MHz oscillator, FT2232H."""

from amaranth_boards.icebreaker import ICEBreakerPlatform

from ..hdl.spec.config import preset
from .board import Board

BOARDS = [Board(
    name="icebreaker", title="iCEBreaker", platform=ICEBreakerPlatform, tile=preset("up5k_4x4"), clock_hz=27.375e6,
    flash_at=1 << 20, programmer=("openFPGALoader", "-b", "ice40_generic", "{file}"),
)]
