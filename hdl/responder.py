"""The link's sending side: answers requests, reading memories for those that ask."""

from amaranth import *
from amaranth.lib import crc, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from .config import MAX_BITS
from .host import HOST_READ_LATENCY
from .protocol import RESPONSE_MAGIC, Response, Space
from .receiver import Answer

DEPTH = 8
"""Words read ahead of the line: more than the latency of a read, so that a free line is never kept waiting."""


class Responder(wiring.Component):
    """Sends one response for each answer it is given.

    Latency: the first word is on `tx` 1 cycle after `answer_valid`. Throughput: a word a cycle when `tx` is ready, but
    for a pause of `HOST_READ_LATENCY` + 2 cycles before the first word of a payload.

    Members: `answer`, `answer_valid`: what to send; `answered`: a pulse with the last word; `tx`;
    `reading`, `address`, `space`, `read_data`: the host bus, for reading.
    """

    def __init__(self):
        super().__init__({
            "answer": In(Answer), "answer_valid": In(1), "answered": Out(1),
            "tx": Out(stream.Signature(32)),
            "space": Out(Space), "address": Out(MAX_BITS), "read": Out(1), "read_data": In(32),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = check = crc.catalog.CRC32_ISO_HDLC(data_width=32).create()
        m.submodules.words = words = SyncFIFOBuffered(width=32, depth=DEPTH)
        taken = self.tx.valid & self.tx.ready
        head = Signal(Response)
        m.d.comb += [
            head.magic.eq(RESPONSE_MAGIC), head.status.eq(self.answer.status), head.sequence.eq(self.answer.sequence),
            check.data.eq(self.tx.payload), words.r_en.eq(0),
        ]

        # Reads run ahead while the words on their way have a place to go.
        unread, unsent, ahead = Signal(MAX_BITS + 1), Signal(MAX_BITS + 1), Signal(range(DEPTH + 1))
        strobes = Signal(HOST_READ_LATENCY)
        m.d.comb += [
            self.space.eq(self.answer.space),
            self.read.eq((unread != 0) & (ahead != DEPTH)),
            words.w_data.eq(self.read_data), words.w_en.eq(strobes[-1]),
        ]
        m.d.sync += [strobes.eq(Cat(self.read, strobes)), ahead.eq(ahead + self.read - words.r_en)]
        with m.If(self.read):
            m.d.sync += [unread.eq(unread - 1), self.address.eq(self.address + 1)]

        def send(word, valid, then, *, checked=True, first=False):
            """One word, and the state that follows it."""
            m.d.comb += [self.tx.payload.eq(word), self.tx.valid.eq(valid)]
            with m.If(taken):
                m.d.comb += [check.valid.eq(checked), check.start.eq(first)]
                m.next = then

        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.answer_valid):
                    m.d.sync += [
                        unread.eq(self.answer.length), unsent.eq(self.answer.length), self.address.eq(self.answer.address),
                    ]
                    m.next = "STATUS"
            with m.State("STATUS"):
                send(head, 1, "LENGTH", first=True)
            with m.State("LENGTH"):
                send(unsent, 1, "CRC")
            with m.State("CRC"):
                send(check.crc, 1, "DONE", checked=False)
                with m.If(taken & (unsent != 0)):
                    m.next = "FIRST"
            for state in ("FIRST", "PAYLOAD"):
                with m.State(state):
                    send(words.r_data, words.r_rdy, "PAYLOAD", first=state == "FIRST")
                    with m.If(taken):
                        m.d.comb += words.r_en.eq(1)
                        m.d.sync += unsent.eq(unsent - 1)
                        with m.If(unsent == 1):
                            m.next = "PAYLOAD_CRC"
            with m.State("PAYLOAD_CRC"):
                send(check.crc, 1, "DONE", checked=False)
            with m.State("DONE"):
                m.d.comb += self.answered.eq(1)
                m.next = "IDLE"
        return m
