"""The link over a serial line: 32-bit words as four bytes each, least significant first."""

from dataclasses import replace

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .dram import Pins
from .link.uart import WORD_BITS, UartReceiver, UartTransmitter, divisor
from .link.words import WordGatherer, WordSplitter
from .spec.config import Config, ConfigError
from .tile import Tile

SILENCE_SECONDS = 0.004
"""Silence after which the link gives up a frame: more than a USB bridge pauses within one, and too short for a
person to notice."""


def link_timeout(clock_hz: float, baud: int) -> int:
    """Clock cycles for `Config.link_timeout`: longer than any pause within a frame."""
    return max(int(SILENCE_SECONDS * clock_hz), 16 * WORD_BITS * divisor(clock_hz, baud))


class SerialLink(wiring.Component):
    """Connects a board's pins to a tile's link: a UART that speaks words.

    Latency: a word is on `rx` 4 cycles after the middle of its last stop bit. Its first start bit
    is on the line 2 cycles after it was taken from `tx`.
    Throughput: a word every 40 bits in, every 40 bits and 4 cycles out.
    Cost: its four parts.

    Parameters: `clock_hz`, of the domain; `baud`. MareyError if the clock cannot make the rate.

    Members:
        `rx_line : In(1)`, `tx_line : Out(1)`: the pins
        `rx : Out(stream.Signature(32))`: words from the line
        `tx : In(stream.Signature(32))`: words to the line
    """

    def __init__(self, clock_hz: float, baud: int):
        self._divisor = divisor(clock_hz, baud)
        self._silence = link_timeout(clock_hz, baud) // 2
        super().__init__({
            "rx_line": In(1, init=1), "tx_line": Out(1, init=1),
            "rx": Out(stream.Signature(32)), "tx": In(stream.Signature(32)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = UartReceiver(self._divisor)
        m.submodules.gatherer = gatherer = WordGatherer(self._silence)
        m.submodules.splitter = splitter = WordSplitter()
        m.submodules.transmitter = transmitter = UartTransmitter(self._divisor)
        m.d.comb += [
            receiver.line.eq(self.rx_line), self.tx_line.eq(transmitter.line),
            gatherer.data.eq(receiver.data), gatherer.valid.eq(receiver.valid),
        ]
        wiring.connect(m, gatherer.words, wiring.flipped(self.rx))
        wiring.connect(m, wiring.flipped(self.tx), splitter.words)
        wiring.connect(m, splitter.bytes, transmitter.bytes)
        return m


class SerialTile(wiring.Component):
    """Connects a tile to a UART: what every board has inside.

    Latency: that of the line, see `SerialLink`. A run takes the tile's own cycles, whatever the
    line does.
    Throughput: that of the line.
    Cost: a `Tile` and a `SerialLink`.

    Parameters: `config`, whose `link_timeout` is replaced by the line's; `clock_hz`, `baud`: see
    `SerialLink`. ConfigError if its external memory is timed for another clock.

    Members:
        `rx_line : In(1)`, `tx_line : Out(1)`: the pins
        `loading : In(1)`: the tile hears `first` and not the line, and its answers are dropped
        `first : In(stream.Signature(32))`: words of a self-loading image
        `sdram : Out(Pins(part))`: with external memory, its chip
    """

    def __new__(cls, config: Config, clock_hz: float, baud: int):
        # Before the component is there: Amaranth warns of one that is made and not used.
        if config.memory and config.sdram_mhz * 1e6 != clock_hz:
            raise ConfigError(f"configuration {config.name!r}: its external memory is timed for {config.sdram_mhz} MHz, and "
                              f"the clock has {clock_hz / 1e6:g}: set sdram_mhz")
        return super().__new__(cls)

    def __init__(self, config: Config, clock_hz: float, baud: int):
        self._link = SerialLink(clock_hz, baud)
        self._tile = Tile(replace(config, link_timeout=link_timeout(clock_hz, baud)))
        super().__init__({
            "rx_line": In(1, init=1), "tx_line": Out(1, init=1), "loading": In(1), "first": In(stream.Signature(32)),
        } | ({"sdram": Out(Pins(config.memory.part))} if config.memory else {}))

    def elaborate(self, platform):
        m = Module()
        m.submodules.link = link = self._link
        m.submodules.tile = tile = self._tile
        if tile.config.memory:
            wiring.connect(m, tile.sdram, wiring.flipped(self.sdram))
        m.d.comb += [
            link.rx_line.eq(self.rx_line), self.tx_line.eq(link.tx_line),
            tile.rx.payload.eq(Mux(self.loading, self.first.payload, link.rx.payload)),
            tile.rx.valid.eq(Mux(self.loading, self.first.valid, link.rx.valid)),
            self.first.ready.eq(self.loading & tile.rx.ready), link.rx.ready.eq(self.loading | tile.rx.ready),
            link.tx.payload.eq(tile.tx.payload), link.tx.valid.eq(tile.tx.valid & ~self.loading),
            tile.tx.ready.eq(self.loading | link.tx.ready),
        ]
        return m
