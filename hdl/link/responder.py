"""The link's sending side: answers requests, and reads memories for them."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..parts.host import HOST_READ_LATENCY
from ..spec.config import Config
from ..spec.protocol import RESPONSE_MAGIC, Response
from .answer import Answer


class Responder(wiring.Component):
    """Sends a response for each answer, and reads the memories for its payload.

    Latency: the first word is on `tx` 1 cycle after `answer_valid`, or as many more as the checksum
    takes for it.
    Throughput: a word of the payload every `HOST_READ_LATENCY` + 1 cycles if `tx` is ready, or as
    the checksum takes them.
    Cost: a register for a word, and a state machine.

    Parameters: `config`.

    Members:
        `answer : In(Answer(config))`, `answer_valid : In(1)`: what to send
        `answered : Out(1)`: all of it was sent; a pulse
        `tx : Out(stream.Signature(32))`: words to the host
        `read : Out(1)`, `read_data : In(32)`: the host bus
        `advance : Out(1)`: a word was read: the next is to be addressed
        `over : In(1)`: there is no next word
        `step : Out(1)`, `first : Out(1)`, `last : In(1)`, `crc : In(32)`: of the `Checksum`
    """

    def __init__(self, config: Config):
        super().__init__({
            "answer": In(Answer(config)), "answer_valid": In(1), "answered": Out(1),
            "tx": Out(stream.Signature(32)),
            "read": Out(1), "read_data": In(32), "advance": Out(1), "over": In(1),
            "step": Out(1), "first": Out(1), "last": In(1), "crc": In(32),
        })

    def elaborate(self, platform):
        m = Module()
        taken = self.tx.valid & self.tx.ready
        head, waiting = Signal(Response), Signal(HOST_READ_LATENCY)
        m.d.comb += [
            head.magic.eq(RESPONSE_MAGIC),
            *(head[name].eq(self.answer[name]) for name in ("status", "number", "sequence")),
            self.advance.eq(waiting[-1]),
        ]
        # A word that is read stays here until it is sent.
        word = Signal(32, reset_less=True)
        m.d.sync += waiting.eq(Cat(self.read, waiting))
        with m.If(waiting[-1]):
            m.d.sync += word.eq(self.read_data)

        def send(word, then, *, checked=True, first=False, ready=True):
            """Sends one word, then goes to state `then`."""
            there = ready & (self.last | (not checked))
            m.d.comb += [self.tx.payload.eq(word), self.tx.valid.eq(there), self.first.eq(first)]
            if checked:
                m.d.comb += self.step.eq(ready & (~self.last | self.tx.ready))
            with m.If(taken):
                m.next = then

        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.answer_valid):
                    m.next = "STATUS"
            with m.State("STATUS"):
                send(head, "LENGTH", first=True)
            with m.State("LENGTH"):
                send(self.answer.length, "CRC")
            with m.State("CRC"):
                send(self.crc, "DONE", checked=False)
                with m.If(taken & (self.answer.length != 0)):
                    m.d.comb += self.read.eq(1)
                    m.next = "PAYLOAD"
            with m.State("PAYLOAD"):
                send(word, "PAYLOAD", ready=~waiting.any())
                with m.If(taken):
                    with m.If(self.over):
                        m.next = "PAYLOAD_CRC"
                    with m.Else():
                        m.d.comb += self.read.eq(1)
            with m.State("PAYLOAD_CRC"):
                send(self.crc, "DONE", checked=False)
            with m.State("DONE"):
                m.d.comb += self.answered.eq(1)
                m.next = "IDLE"
        return m
