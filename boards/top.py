"""The design on a board: clock, reset, and a tile whose UART is connected to the board's pins."""

from amaranth import *
from amaranth.lib import io, wiring
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import Component

from ..hdl.link.flash import FlashLoader
from ..hdl.serial import SerialTile
from .board import Board
from .pll import UP5K_PLL_PIN, Ecp5Pll, Ice40Pll
from .sdram import CLOCK_DEGREES, CLOCK_DOMAIN, SdramPins

SETTLING = 1024
"""Clock cycles of reset after the PLL has locked: an iCE40's block RAMs cannot be read in the first
microseconds."""


class BoardTop(Elaboratable):
    """The top component of a board's design: a PLL, a reset, and a `SerialTile` between the pins of
    the UART; with external memory, the registers at its pins, and its clock.

    It elaborates for the platform of its board only. Where the board has a `flash_at`, a loader
    fills the tile from the SPI flash at power-up, before the UART is listened to.

    Parameters: `board`; `inside`, a component with `rx_line: In(1)` and `tx_line: Out(1)`, and
    perhaps with `sdram: Out(Pins(part))`, that takes the tile's place.
    """

    def __init__(self, board: Board, inside: Component | None = None):
        self._board = board
        self._inside = inside or SerialTile(board.tile, board.clock_hz, board.baud)

    def elaborate(self, platform):
        m = Module()
        board = self._board
        m.domains.sync = ClockDomain()
        m.domains.power_up = ClockDomain(reset_less=True, local=True)
        locked = self._clock(m, platform)
        m.d.comb += ClockSignal("power_up").eq(ClockSignal())
        settled, count = Signal(), Signal(range(SETTLING))
        with m.If(~settled):
            m.d.power_up += [count.eq(count + 1), settled.eq(count == SETTLING - 1)]
        m.submodules.reset = ResetSynchronizer(~locked | ~settled)

        pins = platform.resources[board.uart].ios
        port = platform.request(*board.uart, dir={pin.name: "-" for pin in pins})
        m.submodules.rx = rx = io.Buffer("i", port.rx)
        m.submodules.tx = tx = io.Buffer("o", port.tx)
        m.submodules.inside = inside = self._inside
        m.d.comb += [inside.rx_line.eq(rx.i), tx.o.eq(inside.tx_line)]
        if board.flash_at is not None and isinstance(inside, SerialTile):
            self._flash(m, platform, inside)
        if "sdram" in inside.signature.members:
            m.submodules.sdram = chip = SdramPins(board.tile.memory, board.sdram)
            wiring.connect(m, inside.sdram, chip.pins)
        return m

    def _flash(self, m, platform, tile):
        """Adds the loader that fills the tile from the board's SPI flash, if a program is there."""
        names = {"cs": "o", "clk": "o", "copi": "o", "cipo": "i"}
        pins = platform.resources["spi_flash_1x", 0].ios
        port = platform.request("spi_flash_1x", 0, dir={pin.name: "-" for pin in pins})
        buffers = {name: io.Buffer(way, getattr(port, name)) for name, way in names.items()}
        for name, buffer in buffers.items():
            m.submodules[f"flash_{name}"] = buffer
        m.submodules.loader = loader = FlashLoader(self._board.flash_at)
        m.d.comb += [
            buffers["cs"].o.eq(loader.select), buffers["clk"].o.eq(loader.clock), buffers["copi"].o.eq(loader.out),
            loader.into.eq(buffers["cipo"].i), tile.loading.eq(~loader.done),
        ]
        wiring.connect(m, loader.words, tile.first)

    def _clock(self, m, platform):
        """Adds the PLL that makes the clock of the domain `sync`, and returns the signal that says
        that it has locked."""
        board, source = self._board, platform.default_clk
        input_hz = platform.default_clk_frequency
        port = platform.request(source, dir="-")
        if board.is_ecp5:
            memory = board.tile.memory
            second = (memory.rate, CLOCK_DEGREES[memory.rate]) if memory else None
            m.submodules.pll = pll = Ecp5Pll(input_hz, board.clock_hz, second)
            if memory:
                m.domains += (chip := ClockDomain(CLOCK_DOMAIN, reset_less=True))
                m.d.comb += chip.clk.eq(pll.later)
        else:
            own = board.is_ice40up and platform.resources[source, 0].ios[0].names == [UP5K_PLL_PIN]
            m.submodules.pll = pll = Ice40Pll(input_hz, board.clock_hz, port if own else None)
        if board.is_ecp5 or not own:
            m.submodules.clock = clock = io.Buffer("i", port)
            m.d.comb += pll.clk_in.eq(clock.i)
        m.d.comb += ClockSignal().eq(pll.clk)
        platform.add_clock_constraint(pll.clk, board.clock_hz)
        return pll.locked
