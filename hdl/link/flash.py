"""Self-loading: at power-up the link is played the frames that an SPI flash holds, before it hears the line."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

MAGIC = int.from_bytes(b"MRYF", "little")
"""The first word of an image; then the number of words, and the words, least significant byte first."""

READ, WAKE = 0x03, 0xAB
"""Commands of every SPI flash: read from an address on; leave the power-down in which a configuration may have left it."""


class FlashLoader(wiring.Component):
    """Reads an image from an SPI flash and offers its words; of anything else than an image, none.

    What a word means the loader does not know: an image is what a host would have sent (see `marey.sw.runtime.burn`), so a bit
    that the flash has lost is found by the frame's CRC, and by the sequence numbers of all that follow.

    Throughput: a word every 67 cycles; the flash's clock is half the domain's, and stops while a word waits.
    Latency: the first word `WAKING` + 282 cycles after reset.

    Parameters: `address`, of the image in the flash, in bytes.

    Members: `select`, high while the flash is spoken to; `clock`, `out`, `into`: SPI in mode 0; `words`; `done`.
    """

    WAKING = 1024
    """Cycles that a flash is given to wake up: 10 us at 100 MHz, and 3 are enough."""

    def __init__(self, address: int):
        self._address = address
        super().__init__({
            "select": Out(1), "clock": Out(1), "out": Out(1), "into": In(1),
            "words": Out(stream.Signature(32)), "done": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        shift, bits, left, pause = Signal(32), Signal(range(33)), Signal(32), Signal(range(self.WAKING))
        word = Signal(32)
        m.d.comb += [self.out.eq(shift[31]), word.eq(Cat(shift[24:], shift[16:24], shift[8:16], shift[:8]))]
        # Two cycles a bit: the flash's clock rises, and its answer is taken; then it falls, and both sides move on.
        with m.If(bits != 0):
            m.d.sync += self.clock.eq(~self.clock)
            with m.If(self.clock):
                m.d.sync += [shift.eq(Cat(self.into, shift)), bits.eq(bits - 1)]

        def exchange(state, then, what, count):
            """Sends and receives so many bits, once."""
            with m.State(state):
                m.d.sync += [self.select.eq(1), shift.eq(what), bits.eq(count)]
                m.next = f"{state}_"
            with m.State(f"{state}_"), m.If((bits == 0) & ~self.clock):
                then()

        def slept():
            m.d.sync += [self.select.eq(0), pause.eq(self.WAKING - 1)]
            m.next = "PAUSE"

        def judged():
            m.next = "DONE"
            with m.If(word == MAGIC):
                m.next = "COUNT"

        def counted():
            m.d.sync += left.eq(word)
            m.next = "DONE"
            with m.If(word != 0):
                m.next = "WORD"

        def got():
            m.d.sync += [self.words.payload.eq(word), self.words.valid.eq(1), left.eq(left - 1)]
            m.next = "OFFER"

        with m.FSM():
            exchange("WAKE", slept, WAKE << 24, 8)
            with m.State("PAUSE"):
                m.d.sync += pause.eq(pause - 1)
                with m.If(pause == 0):
                    m.next = "READ"
            exchange("READ", lambda: setattr(m, "next", "MAGIC"), READ << 24 | self._address, 32)
            exchange("MAGIC", judged, 0, 32)
            exchange("COUNT", counted, 0, 32)
            exchange("WORD", got, 0, 32)
            with m.State("OFFER"), m.If(self.words.ready):
                m.d.sync += self.words.valid.eq(0)
                m.next = "WORD"
                with m.If(left == 0):
                    m.next = "DONE"
            with m.State("DONE"):
                m.d.sync += self.select.eq(0)
                m.d.comb += self.done.eq(1)
        return m
