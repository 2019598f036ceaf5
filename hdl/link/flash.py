"""Self-loading: at power-up the link gets the frames that an SPI flash holds, then the line's."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

MAGIC = int.from_bytes(b"MRYF", "little")
"""The first word of an image. The number of words follows, then the words, least significant byte first."""

READ, WAKE = 0x03, 0xAB
"""Commands of every SPI flash: read from an address on; leave the power-down state, in which the loading of the
FPGA's configuration may have left it."""


class FlashLoader(wiring.Component):
    """Reads an image from an SPI flash at power-up, and offers its words.

    If the flash has no image, it offers none. The loader does not know what a word means: an image
    is what a host would have sent (see `marey.sw.runtime.burn`). So the CRC of a frame finds a bit
    that the flash has lost, and the sequence numbers refuse all frames after it.

    Latency: the first word is there `WAKING` + 282 cycles after reset.
    Throughput: a word every 67 cycles. The flash's clock is half the domain's, and stops while a
    word waits.
    Cost: two registers of 32 bits, a counter of 32 bits, and a state machine.

    Parameters: `address`, of the image in the flash, in bytes.

    Members:
        `select : Out(1)`: the flash is spoken to; active high
        `clock : Out(1)`, `out : Out(1)`, `into : In(1)`: SPI in mode 0, data to and from the flash
        `words : Out(stream.Signature(32))`: the words of the image
        `done : Out(1)`: all words were taken, or there is no image
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
        # Two cycles a bit: the flash's clock rises, and its bit is taken; then the clock falls, and both sides
        # move to the next bit.
        with m.If(bits != 0):
            m.d.sync += self.clock.eq(~self.clock)
            with m.If(self.clock):
                m.d.sync += [shift.eq(Cat(self.into, shift)), bits.eq(bits - 1)]

        def exchange(state, then, what, count):
            """States that send `count` bits of `what` and receive as many, then call `then`."""
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
