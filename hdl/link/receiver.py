"""The link's receiving side: takes requests in, judges them, acts on them."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..spec.command import begin_layout
from ..spec.config import MAX_BITS, Config
from ..spec.protocol import MOST_TOKENS, Opcode, Space, StartHow, StartWhere, Status
from .answer import Answer
from .framer import Framer
from .judge import Judge


class Receiver(wiring.Component):
    """Acts on requests whose frames are sound, and says what is to be answered.

    Latency: a word of a WRITE is on the host bus in the cycle in which it is taken. `start` and
    `reset` are pulses of registers, since they have a long way, 2 cycles after the last word of a
    frame; in the same cycle `answer` is valid.
    Throughput: a word a cycle within a frame, or as the checksum takes them. The next frame is
    taken when the last one is `answered`.
    Cost: a `Framer`, a `Judge`, and a state machine.

    Parameters: `config`.

    Members:
        `rx : In(stream.Signature(32))`: words from the host
        `hold : In(1)`: take no word in this cycle
        `space : Out(Space)`, `address : Out(MAX_BITS)`, `write : Out(1)`, `data : Out(32)`: the
            host bus
        `start : Out(1)`, `begin : Out(begin_layout(config))`: a run begins
        `reset : Out(1)`: the run ends
        `running : In(1)`, `made : In`: a program runs; the number of tokens that it has made
        `answer : Out(Answer(config))`, `answer_valid : Out(1)`: what to answer, held until
            `answered : In(1)`
        `advance : In(1)`: a word of the answer was read: the next is to be addressed
        `over : Out(1)`: there is no next word
        `faults : Out(16)`: frames refused for their CRC or sequence number, or cut off
        `step : Out(1)`, `first : Out(1)`, `last : In(1)`, `crc : In(32)`: of the `Checksum`
    """

    def __init__(self, config: Config):
        self._config = config
        super().__init__({
            "rx": In(stream.Signature(32)), "hold": In(1),
            "space": Out(Space), "address": Out(MAX_BITS), "write": Out(1), "data": Out(32),
            "start": Out(1), "begin": Out(begin_layout(config)), "reset": Out(1),
            "running": In(1), "made": In(range(MOST_TOKENS + 1)),
            "answer": Out(Answer(config)), "answer_valid": Out(1), "answered": In(1), "advance": In(1), "over": Out(1),
            "faults": Out(16),
            "step": Out(1), "first": Out(1), "last": In(1), "crc": In(32),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.framer = framer = Framer(self._config)
        m.submodules.judge = judge = Judge(self._config)
        wiring.connect(m, wiring.flipped(self.rx), framer.rx)
        request = framer.request
        expected, dirty, last, again = Signal(8), Signal(), Signal(Status), Signal()
        status, opcode = self.answer.status, request.opcode
        where, how = data.View(StartWhere, framer.address), data.View(StartHow, framer.length)
        token = status == Status.TOKEN
        m.d.comb += [
            judge.request.eq(request), judge.address.eq(framer.address), judge.length.eq(framer.length),
            judge.past.eq(framer.past),
            self.step.eq(framer.step), self.first.eq(framer.first), framer.last.eq(self.last), framer.crc.eq(self.crc),
            judge.running.eq(self.running), judge.expected.eq(expected), judge.dirty.eq(dirty), judge.last.eq(last),
            self.space.eq(request.space), self.address.eq(framer.address), self.data.eq(self.rx.payload),
            framer.advance.eq(self.advance), self.over.eq(token | (framer.address[:len(framer.past)] == framer.past)),
            self.write.eq(framer.payload & (status == Status.OK) & ~again), framer.hold.eq(self.hold),
            self.begin.entry.eq(where.entry), self.begin.token.eq(where.token),
            self.begin.position.eq(how.position), self.begin.count.eq(how.count),
            self.answer.sequence.eq(request.sequence), self.answer.number.eq(framer.address),
        ]
        with m.If(token):
            m.d.comb += [self.space.eq(Space.TOKENS), self.answer.length.eq(1)]
        with m.Elif(opcode == Opcode.WAIT):
            m.d.comb += [self.space.eq(Space.REGISTER), self.answer.length.eq(Mux(status == Status.OK, 2, 0))]
        with m.Elif((opcode == Opcode.READ) & (status == Status.OK)):
            m.d.comb += self.answer.length.eq(framer.length)
        with m.If(framer.judged):
            m.d.sync += [status.eq(judge.status), again.eq(judge.again)]
        with m.If(self.write):
            m.d.sync += dirty.eq(1)
        m.d.sync += [self.start.eq(0), self.reset.eq(0)]
        with m.FSM():
            with m.State("TAKE"):
                with m.If(framer.done):
                    m.next = "ANSWER"
                    with m.If(framer.fault != Status.OK):
                        m.d.sync += [status.eq(framer.fault), self.faults.eq(self.faults + 1)]
                    with m.Elif(status == Status.SEQUENCE):
                        m.d.sync += self.faults.eq(self.faults + 1)
                    with m.Elif(~again):
                        m.d.sync += [expected.eq(request.sequence + 1), last.eq(status)]
                    with m.If((framer.fault == Status.OK) & (status == Status.OK)):
                        self._obey(m, framer, again, dirty)
            with m.State("WAIT"):
                self._wait(m, framer)
            with m.State("ANSWER"):
                m.d.comb += self.answer_valid.eq(1)
                with m.If(self.answered):
                    with m.If(token):
                        m.next = "WAIT"
                    with m.Else():
                        m.d.comb += framer.release.eq(1)
                        m.next = "TAKE"
        return m

    def _wait(self, m, framer):
        """Answers a WAIT with each token of the run, from the one at the address on, and then with
        the run's registers. A word of the host ends it."""
        with m.If(self.rx.valid):
            m.d.comb += framer.release.eq(1)
            m.next = "TAKE"
        # The address is the number of the token that is sent next.
        with m.Elif(framer.address[:len(self.made)] != self.made):
            m.d.sync += self.answer.status.eq(Status.TOKEN)
            m.next = "ANSWER"
        with m.Elif(~self.running):
            m.d.sync += self.answer.status.eq(Status.OK)
            m.d.comb += framer.jump.eq(1)
            m.next = "ANSWER"

    def _obey(self, m, framer, again, dirty):
        """Does what a sound request asks: START and RESET act in the next cycle, from registers."""
        with m.Switch(framer.request.opcode):
            with m.Case(Opcode.RESET):
                m.d.sync += self.reset.eq(1)
            with m.Case(Opcode.WRITE):
                with m.If(~again):
                    m.d.sync += dirty.eq(0)
            with m.Case(Opcode.START):
                m.d.sync += self.start.eq(~again)
            with m.Case(Opcode.WAIT):
                m.next = "WAIT"
