"""The link over a serial line: 32-bit words as four bytes each, least significant first."""

from dataclasses import replace

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .link.uart import WORD_BITS, UartReceiver, UartTransmitter, divisor
from .spec.config import Config
from .tile import Tile

SILENCE_SECONDS = 0.004
"""Without a word, after which the link gives up a frame: more than a USB bridge pauses within one, and no more than a
person notices."""


def link_timeout(clock_hz: float, baud: int) -> int:
    """Clock cycles of silence, for `Config.link_timeout`: long beside a word's time at this rate, however slow the line is."""
    return max(int(SILENCE_SECONDS * clock_hz), 16 * WORD_BITS * divisor(clock_hz, baud))


class WordGatherer(wiring.Component):
    """Makes words of bytes, and of a word that is not finished nothing: after `silence` cycles without a byte the next
    begins a word. So a byte that was lost spoils the frame that it was of, which its CRC tells, and not those that follow.

    Latency: 1 cycle from the last byte. A word waits until it is taken, for as long as the line takes for the next;
    the one that comes then is lost, which again the CRC tells.

    Parameters: `silence`, in clock cycles, more than a byte's time, and less than `Config.link_timeout` less a word's
    time: whoever hears from the link that a frame was cut off finds the words aligned.

    Members: `data`, `valid`: bytes, no flow control; `words`, a stream.
    """

    def __init__(self, silence: int):
        self._silence = silence
        super().__init__({"data": In(8), "valid": In(1), "words": Out(stream.Signature(32))})

    def elaborate(self, platform):
        m = Module()
        gathered, count = Signal(24), Signal(2)
        quiet = Signal(range(self._silence))
        with m.If(self.words.ready):
            m.d.sync += self.words.valid.eq(0)
        m.d.sync += quiet.eq(self._silence - 1)
        with m.If(self.valid):
            m.d.sync += [count.eq(count + 1), gathered.eq(Cat(gathered[8:], self.data))]
            with m.If((count == 3) & (self.words.ready | ~self.words.valid)):
                m.d.sync += [self.words.valid.eq(1), self.words.payload.eq(Cat(gathered, self.data))]
        with m.Elif(count != 0):
            m.d.sync += quiet.eq(quiet - 1)
            with m.If(quiet == 0):
                m.d.sync += count.eq(0)
        return m


class WordSplitter(wiring.Component):
    """Makes bytes of words. Latency: 1 cycle. Throughput: a byte a cycle, but for one cycle a word.

    Members: `words`, `bytes`: streams.
    """

    def __init__(self):
        super().__init__({"words": In(stream.Signature(32)), "bytes": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        word, left = Signal(32), Signal(range(5))
        m.d.comb += [
            self.words.ready.eq(left == 0), self.bytes.valid.eq(left != 0), self.bytes.payload.eq(word[:8]),
        ]
        with m.If(self.words.ready & self.words.valid):
            m.d.sync += [word.eq(self.words.payload), left.eq(4)]
        with m.Elif(self.bytes.ready & self.bytes.valid):
            m.d.sync += [word.eq(word >> 8), left.eq(left - 1)]
        return m


class SerialLink(wiring.Component):
    """A UART that speaks words: what stands between a board's pins and a tile's link.

    Throughput: a word every 40 bits in, every 40 bits and 4 cycles out. Latency: a word is on `rx` 4 cycles after the
    middle of its last stop bit, and its first start bit is on the line 2 cycles after it was taken from `tx`.

    Parameters: `clock_hz`, of the domain; `baud`. MareyError if the one cannot make the other.

    Members: `rx_line`, `tx_line`: the pins; `rx`: words from the line; `tx`: words to the line.
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
    """A tile with a UART as its link: what a board has inside, whatever board it is.

    Latency: that of the line, see `SerialLink`; a run takes the tile's own cycles, whatever the line does.

    Parameters: `config`, whose `link_timeout` is replaced by the line's; `clock_hz`, `baud`: see `SerialLink`.

    Members: `rx_line`, `tx_line`: the pins; `loading`: the tile hears `first` and not the line, and its answers are dropped.
    """

    def __init__(self, config: Config, clock_hz: float, baud: int):
        self._link = SerialLink(clock_hz, baud)
        self._tile = Tile(replace(config, link_timeout=link_timeout(clock_hz, baud)))
        super().__init__({
            "rx_line": In(1, init=1), "tx_line": Out(1, init=1), "loading": In(1), "first": In(stream.Signature(32)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.link = link = self._link
        m.submodules.tile = tile = self._tile
        m.d.comb += [
            link.rx_line.eq(self.rx_line), self.tx_line.eq(link.tx_line),
            tile.rx.payload.eq(Mux(self.loading, self.first.payload, link.rx.payload)),
            tile.rx.valid.eq(Mux(self.loading, self.first.valid, link.rx.valid)),
            self.first.ready.eq(self.loading & tile.rx.ready), link.rx.ready.eq(self.loading | tile.rx.ready),
            link.tx.payload.eq(tile.tx.payload), link.tx.valid.eq(tile.tx.valid & ~self.loading),
            tile.tx.ready.eq(self.loading | link.tx.ready),
        ]
        return m
