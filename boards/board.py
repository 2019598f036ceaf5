"""A board: what Marey must know of it beside its pins, which amaranth-boards knows."""

from dataclasses import dataclass
from functools import cached_property

from amaranth.build import Platform

from ..hdl.spec.config import Config
from ..hdl.spec.errors import MareyError
from ..hdl.verilog import Rams
from ..sim.port import BAUD
from .ecp5 import Ecp5Parts
from .ice40 import Ice40UpParts


class BoardError(MareyError):
    """There is no board with this name."""


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board, and the tile that is built for it. docs/recipes/board.md says how to add one.

    ============== ====================================================================
    name           name on the command line
    title          name for people
    platform       class of its Amaranth platform: device, pins, oscillator. The virtual board needs
                   the oscillator at one pin: `Pins`, not `DiffPairs`
    tile           configuration of its tile
    clock_hz       clock of the tile, in Hz, which a PLL makes from the oscillator
    uart           name and number of the Amaranth resource that is the UART to the host
    baud           rate of that UART: the highest that its USB bridge takes and the clock can make, or one
                   that every USB adapter takes
    programmer     command that writes a bitstream to the board; `{file}` stands for the bitstream
    flash_at       address in bytes in the board's SPI flash, behind the bitstream, from which the
                   tile loads a program at power-up; None if it loads none
    sdram          name and number of the Amaranth resource that is the tile's external memory, if it has one
    note           one line that the owner of the board must know; "" if there is nothing
    ============== ====================================================================
    """

    name: str
    title: str
    platform: type[Platform]
    tile: Config
    clock_hz: float
    uart: tuple[str, int] = ("uart", 0)
    baud: int = BAUD
    programmer: tuple[str, ...]
    flash_at: int | None = None
    sdram: tuple[str, int] = ("sdram", 0)
    note: str = ""

    @cached_property
    def device(self) -> str:
        """The FPGA and its package, as the vendor names them."""
        platform = self.platform()
        return f"{platform.device}-{platform.package}"

    @cached_property
    def is_ecp5(self) -> bool:
        """Whether the FPGA is an ECP5; otherwise it is an iCE40."""
        return self.device.startswith("LFE5U")

    @property
    def is_ice40up(self) -> bool:
        """Whether the FPGA is an iCE40 UltraPlus, which has multipliers and single-port RAMs."""
        return self.device.startswith("iCE40UP")

    def with_parts(self) -> Platform:
        """A platform of the board that replaces parts of the tile by cells of the device.

        The tile's multipliers and memories ask the platform for a replacement (`get_product`,
        `get_memory` and so on), and the classes of `ecp5.py` and `ice40.py` answer. On every
        device, a `marey_ram` replaces a memory that starts empty. `registers_at_pins`: the registers at the pins of
        external memory are in the I/O cells (`marey.boards.sdram`).
        """
        parts = Ecp5Parts if self.is_ecp5 else Ice40UpParts if self.is_ice40up else Rams
        return type(self.platform.__name__, (parts, self.platform), {"registers_at_pins": True})()
