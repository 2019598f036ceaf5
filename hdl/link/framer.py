"""The framer: takes in the frames of requests."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..spec.config import Config
from ..spec.protocol import REQUEST_MAGIC, Opcode, Register, Request, Status
from .answer import space_bits


class Framer(wiring.Component):
    """Takes the frames of requests in, checks their CRCs, and notices when one is cut off.

    Latency: `done` rises in the cycle after the last word of a frame, or after the silence that
    ends one, and stays until `release`. No word is taken meanwhile, nor while `hold`.
    Throughput: a word as often as the checksum takes one.
    Cost: a register for the header, a counter, and a state machine.

    Parameters: `config`, for the silence and the width of addresses.

    Members:
        `rx : In(stream.Signature(32))`: words from the host
        `hold : In(1)`: take no word in this cycle
        `request : Out(Request)`, `length : Out(32)`: of the header
        `address : Out(32)`: of the header; then it counts the words of a payload, and with
            `advance` those of an answer
        `past : Out`: the address after the last; it is added up here, before the cycle of the
            judgement
        `advance : In(1)`: a word of the answer was read
        `jump : In(1)`: go on at the registers that answer a WAIT
        `judged : Out(1)`: all of the header is there but its CRC, which is the next word: the
            judgement of this cycle counts, if a word is taken in it
        `payload : Out(1)`: in this cycle a word of the payload is taken
        `step : Out(1)`, `first : Out(1)`, `last : In(1)`, `crc : In(32)`: of the `Checksum`
        `done : Out(1)`, `fault : Out(Status)`: a frame is over, and is OK, CRC or CUT_OFF
        `release : In(1)`: take the next frame
    """

    def __init__(self, config: Config):
        self._timeout = config.link_timeout
        self._bits = space_bits(config)
        super().__init__({
            "rx": In(stream.Signature(32)), "hold": In(1),
            "request": Out(Request), "address": Out(32), "length": Out(32), "past": Out(self._bits + 2),
            "step": Out(1), "first": Out(1), "last": In(1), "crc": In(32),
            "advance": In(1), "jump": In(1), "judged": Out(1), "payload": Out(1),
            "done": Out(1), "fault": Out(Status), "release": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        word, taken, bits = self.rx.payload, self.rx.valid & self.rx.ready, self._bits + 2
        header = Signal(data.ArrayLayout(32, 3))
        index, fits, checked = Signal(2), Signal(), Signal()
        # The silence is counted up to a power of two, so that its end is one bit.
        power = self._timeout.bit_length()
        begin = (1 << power) - self._timeout
        quiet, silent, following = Signal(power + 1, init=begin), Signal(), Signal(bits)
        m.d.comb += [
            self.judged.eq(index == 3), fits.eq(word == self.crc), self.step.eq(checked & self.rx.valid & ~self.hold),
            self.request.eq(header[0]), self.length.eq(header[2]), self.address.eq(header[1]),
            silent.eq(quiet[-1]), following.eq(self.address + 1),
        ]
        m.d.sync += quiet.eq(Mux(self.rx.valid | silent, begin, quiet + 1))
        with m.If(self.payload | self.advance):
            m.d.sync += header[1][:bits].eq(following)
        with m.If(self.jump):
            m.d.sync += [header[1][:bits].eq(Register.CYCLES), self.past.eq(Register.CYCLES.value + 2)]

        def end(fault):
            m.d.sync += [self.fault.eq(fault), index.eq(0)]
            m.next = "DONE"

        with m.FSM() as fsm:
            m.d.comb += [
                self.done.eq(fsm.ongoing("DONE")), self.rx.ready.eq(~self.done & ~self.hold & (self.last | ~checked)),
            ]
            with m.State("HEADER"):
                m.d.comb += [checked.eq(index != 3), self.first.eq(index == 0)]
                with m.If(taken):
                    m.d.sync += index.eq(index + 1)
                    self._take_header(m, header, index, fits, end)
                with m.Elif(silent & (index != 0)):
                    end(Status.CUT_OFF)
            with m.State("PAYLOAD"):
                m.d.comb += checked.eq(1)
                with m.If(taken):
                    m.d.comb += self.payload.eq(1)
                    with m.If(following == self.past):
                        m.next = "CHECK"
                with m.Elif(silent):
                    end(Status.CUT_OFF)
            with m.State("CHECK"):
                with m.If(taken):
                    end(Mux(fits, Status.OK, Status.CRC))
                with m.Elif(silent):
                    end(Status.CUT_OFF)
            with m.State("NOISE"):
                with m.If(silent):
                    end(Status.CRC)
            with m.State("DONE"):
                with m.If(self.release):
                    m.next = "HEADER"
        return m

    def _take_header(self, m, header, index, fits, end):
        """Keeps word `index` of a header. If it is the CRC, ends the frame or begins its payload."""
        word, bits = self.rx.payload, len(self.past)
        for number in range(3):
            with m.If(index == number):
                m.d.sync += header[number].eq(word)
        with m.If(index == 2):
            m.d.sync += self.past.eq(self.address[:bits] + word[:bits])
        with m.If((index == 0) & (word[24:] != REQUEST_MAGIC) | (index == 3) & ~fits):
            m.next = "NOISE"
        with m.Elif(index == 3):
            end(Status.OK)
            with m.If((self.request.opcode == Opcode.WRITE) & (self.length != 0)):
                m.next = "PAYLOAD"
