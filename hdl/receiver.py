"""The link's receiving side: takes requests in, judges them, acts on them."""

from amaranth import *
from amaranth.lib import crc, data, stream, wiring
from amaranth.lib.wiring import In, Out

from .config import MAX_BITS, Config, address_bits
from .protocol import REQUEST_MAGIC, Opcode, Register, Request, Space, Status, entry_bits, parts, space_words

Answer = data.StructLayout({
    "sequence": 8, "status": Status, "space": Space, "address": MAX_BITS, "length": MAX_BITS + 1,
})
"""What the responder is asked to send: a status, and `length` words read from `space` at `address` on."""


class Judge(wiring.Component):
    """Decides whether a request is obeyed. Combinational, latency 0 cycles.

    Members: `request`, `address`, `length`: the header; `running`; `expected`: the sequence number; `dirty`: a WRITE
    failed halfway; `last`: the status of the last request that was not a repetition; `status`: the judgement;
    `again`: the request repeats the one before it.
    """

    def __init__(self, config: Config):
        self._config = config
        super().__init__({
            "request": In(Request), "address": In(32), "length": In(32),
            "running": In(1), "expected": In(8), "dirty": In(1), "last": In(Status),
            "status": Out(Status), "again": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        request, config = self.request, self._config
        size, mask = Signal(MAX_BITS + 1), Signal(8)
        with m.Switch(request.space):
            for space in Space:
                with m.Case(space):
                    m.d.comb += [
                        size.eq(space_words(config, space)),
                        mask.eq(parts(entry_bits(config, space)) - 1),
                    ]
        read, write = request.opcode == Opcode.READ, request.opcode == Opcode.WRITE
        start, reset = request.opcode == Opcode.START, request.opcode == Opcode.RESET
        end = self.address[:MAX_BITS] + self.length[:MAX_BITS + 1]
        readable = (request.space == Space.REGISTER) | (request.space == Space.PROGRAM) | (request.space == Space.MEM)
        writable = (request.space == Space.PROGRAM) | (request.space == Space.MEM) | (request.space == Space.WRAM)
        outside = (self.address[MAX_BITS:].any() | self.length[MAX_BITS:].any() | (end > size)
                   | (write & ((self.address | self.length)[:8] & mask).any()))
        exclusive = (request.space == Space.PROGRAM) | (request.space == Space.MEM)
        m.d.comb += self.again.eq((request.sequence == (self.expected - 1)[:8]) & ~reset)
        with m.If(~reset & (request.sequence != self.expected) & ~self.again):
            m.d.comb += self.status.eq(Status.SEQUENCE)
        with m.Elif(self.again & start):
            m.d.comb += self.status.eq(self.last)
        with m.Elif(request.opcode.as_value() > max(op.value for op in Opcode)):
            m.d.comb += self.status.eq(Status.OPCODE)
        with m.Elif((read & (~readable | outside)) | (write & (~writable | outside))
                    | (start & (self.address >= config.program_depth))):
            m.d.comb += self.status.eq(Status.ADDRESS)
        with m.Elif(self.running & (start | ((read | write) & exclusive))):
            m.d.comb += self.status.eq(Status.BUSY)
        with m.Elif(start & self.dirty):
            m.d.comb += self.status.eq(Status.DIRTY)
        return m


class Receiver(wiring.Component):
    """Takes frames in, a word a cycle, and acts on those that are sound.

    Latency: a WRITE's word is on the host bus in the cycle in which it is taken; `answer` is valid 2 cycles after the
    last word of a frame, `start` and `reset` are pulses in the cycle between. Throughput: a word a cycle within a frame;
    the next frame is taken when `answered`.

    Members: `rx`; `space`, `address`, `write`, `data`: the host bus, for writing; `start`, `entry`, `reset`; `running`;
    `answer`, `answer_valid`: held until `answered`; `faults`: frames refused for their CRC or sequence, or cut off.
    """

    def __init__(self, config: Config):
        self._config = config
        super().__init__({
            "rx": In(stream.Signature(32)),
            "space": Out(Space), "address": Out(MAX_BITS), "write": Out(1), "data": Out(32),
            "start": Out(1), "entry": Out(address_bits(config.program_depth)), "reset": Out(1),
            "running": In(1),
            "answer": Out(Answer), "answer_valid": Out(1), "answered": In(1),
            "faults": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = check = crc.catalog.CRC32_ISO_HDLC(data_width=32).create()
        m.submodules.judge = judge = Judge(self._config)
        word, taken = self.rx.payload, self.rx.valid & self.rx.ready
        request = Signal(Request)
        address, length, left = Signal(32), Signal(32), Signal(MAX_BITS + 1)
        index = Signal(2)
        expected, dirty, last = Signal(8), Signal(), Signal(Status)
        status, again = Signal(Status), Signal()
        sound = Signal()
        m.d.comb += [
            check.data.eq(word), sound.eq(word == check.crc),
            judge.request.eq(request), judge.address.eq(address), judge.length.eq(length),
            judge.running.eq(self.running), judge.expected.eq(expected), judge.dirty.eq(dirty), judge.last.eq(last),
            self.space.eq(request.space), self.address.eq(address), self.data.eq(word),
            self.entry.eq(address), self.answer.sequence.eq(request.sequence), self.answer.status.eq(status),
            self.answer.space.eq(request.space), self.answer.address.eq(address),
        ]

        # A line that falls silent in the middle of a frame ends it.
        quiet, silent = Signal(range(self._config.link_timeout + 1)), Signal()
        m.d.comb += silent.eq(quiet == self._config.link_timeout)
        m.d.sync += quiet.eq(Mux(self.rx.valid | silent, 0, quiet + 1))

        def give_up(reason):
            m.d.sync += [status.eq(reason), self.faults.eq(self.faults + 1), index.eq(0)]
            m.next = "ANSWER"

        with m.FSM():
            with m.State("HEADER"):
                m.d.comb += self.rx.ready.eq(1)
                with m.If(taken):
                    m.d.comb += [check.valid.eq(1), check.start.eq(index == 0)]
                    m.d.sync += [index.eq(index + 1), length.eq(word), address.eq(length), request.eq(address)]
                    with m.If((index == 0) & (word[24:] != REQUEST_MAGIC)):
                        m.d.sync += index.eq(0)
                        m.next = "NOISE"
                    with m.If(index == 3):
                        # The three words have moved up by one too many places: keep them.
                        m.d.sync += [length.eq(length), address.eq(address), request.eq(request)]
                        m.d.sync += [status.eq(judge.status), again.eq(judge.again), left.eq(length)]
                        with m.If(~sound):
                            m.next = "NOISE"
                        with m.Elif((request.opcode == Opcode.WRITE) & (length != 0)):
                            m.next = "FIRST"
                        with m.Else():
                            m.next = "ACT"
                with m.Elif(silent & (index != 0)):
                    give_up(Status.CUT_OFF)
            for state in ("FIRST", "PAYLOAD"):
                with m.State(state):
                    m.d.comb += self.rx.ready.eq(1)
                    with m.If(taken):
                        m.d.comb += [check.valid.eq(1), check.start.eq(state == "FIRST"),
                                     self.write.eq(status == Status.OK)]
                        m.d.sync += [address.eq(address + 1), left.eq(left - 1)]
                        with m.If(status == Status.OK):
                            m.d.sync += dirty.eq(1)
                        m.next = "PAYLOAD"
                        with m.If(left == 1):
                            m.next = "CHECK"
                    with m.Elif(silent):
                        give_up(Status.CUT_OFF)
            with m.State("CHECK"):
                m.d.comb += self.rx.ready.eq(1)
                with m.If(taken):
                    m.next = "ACT"
                    with m.If(~sound):
                        give_up(Status.CRC)
                with m.Elif(silent):
                    give_up(Status.CUT_OFF)
            with m.State("ACT"):
                self._act(m, request, status, again, address, length, expected, dirty, last)
            with m.State("WAIT"):
                with m.If(self.rx.valid):
                    m.next = "HEADER"
                with m.Elif(~self.running):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += self.answer_valid.eq(1)
                with m.If(self.answered):
                    m.d.sync += self.answer.length.eq(0)
                    m.next = "HEADER"
            with m.State("NOISE"):
                m.d.comb += self.rx.ready.eq(1)
                with m.If(silent):
                    give_up(Status.CRC)
        return m

    def _act(self, m, request, status, again, address, length, expected, dirty, last):
        """What a sound frame does, in the cycle after its last word."""
        m.next = "ANSWER"
        with m.If(status == Status.SEQUENCE):
            m.d.sync += self.faults.eq(self.faults + 1)
        with m.Elif(~again):
            m.d.sync += [expected.eq(request.sequence + 1), last.eq(status)]
        with m.If(status == Status.OK):
            with m.Switch(request.opcode):
                with m.Case(Opcode.RESET):
                    m.d.comb += self.reset.eq(1)
                    m.d.sync += dirty.eq(0)
                with m.Case(Opcode.READ):
                    m.d.sync += self.answer.length.eq(length)
                with m.Case(Opcode.WRITE):
                    m.d.sync += dirty.eq(0)
                with m.Case(Opcode.START):
                    m.d.comb += self.start.eq(~again)
                with m.Case(Opcode.WAIT):
                    m.d.sync += [
                        request.space.eq(Space.REGISTER), address.eq(Register.CYCLES), self.answer.length.eq(2),
                    ]
                    m.next = "WAIT"

