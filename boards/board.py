"""What Marey needs to know of a board, beyond its pins, which amaranth-boards knows."""

from dataclasses import dataclass
from functools import cached_property

from amaranth.vendor import LatticeECP5Platform

from ..hdl.spec.config import Config
from ..hdl.spec.errors import MareyError
from ..hdl.verilog import Rams
from ..sim.port import BAUD
from .ecp5 import Ecp5Parts
from .ice40 import Ice40UpParts


class BoardError(MareyError):
    """A name that no board has."""


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board and the tile that it gets.

    ============== ====================================================================
    name, title    what the command line calls it, and people
    platform       makes its Amaranth platform: device, pins, clock
    tile           the configuration of its tile
    clock_hz       of the tile
    uart           Amaranth resource of the line to the host: its name and number
    baud           the highest rate that its bridge takes, or one that every adapter does
    programmer     the command that puts a bitstream on it, `{file}` in it
    flash_at       byte of its SPI flash, behind the bitstream, at which it looks for a program; None if it does not
    note           what its owner must know, one line
    ============== ====================================================================
    """

    name: str
    title: str
    platform: type
    tile: Config
    clock_hz: float
    uart: tuple[str, int] = ("uart", 0)
    baud: int = BAUD
    programmer: tuple[str, ...]
    flash_at: int | None = None
    note: str = ""

    @cached_property
    def device(self) -> str:
        """The FPGA, as its vendor calls it."""
        platform = self.platform()
        return f"{platform.device}-{platform.package}"

    @cached_property
    def is_ecp5(self) -> bool:
        return isinstance(self.platform(), LatticeECP5Platform)

    @property
    def is_ice40up(self) -> bool:
        return self.device.startswith("iCE40UP")

    def with_parts(self):
        """Its platform, which puts the device's cells in the place of the tile's device parts, and a `marey_ram` in that of
        memories that start empty."""
        parts = Ecp5Parts if self.is_ecp5 else Ice40UpParts if self.is_ice40up else Rams
        return type(self.platform.__name__, (parts, self.platform), {})()
