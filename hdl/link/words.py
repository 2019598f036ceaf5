"""Words of a link as the bytes of a serial line, least significant first."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class WordGatherer(wiring.Component):
    """Makes words of bytes, and drops a word that is not finished.

    After `silence` cycles without a byte the next byte begins a word. So a byte that was lost
    spoils only the frame that it was part of, which the CRC shows, and not the frames that follow.

    Latency: 1 cycle from the last byte.
    Throughput: a byte a cycle. A word waits until it is taken; if the next is whole before that,
    that one is lost, which the CRC shows, too.
    Cost: a register for a word, one for three bytes, and a counter.

    Parameters: `silence`, in clock cycles: more than a byte's time, and less than
    `Config.link_timeout` less a word's time. Then a host that hears that a frame was cut off finds
    the words aligned.

    Members:
        `data : In(8)`, `valid : In(1)`: bytes, no flow control
        `words : Out(stream.Signature(32))`: words
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
    """Makes bytes of words.

    Latency: 1 cycle.
    Throughput: a byte a cycle, but for one cycle a word.
    Cost: a register for a word.

    Members:
        `words : In(stream.Signature(32))`: words
        `bytes : Out(stream.Signature(8))`: bytes, least significant first
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
