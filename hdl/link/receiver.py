"""The link's receiving side: takes requests in, judges them, acts on them."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..sequencer.sequencer import Begin
from ..spec.config import MAX_BITS, Config, address_bits
from ..spec.protocol import (
    MOST_TOKENS,
    REQUEST_MAGIC,
    Opcode,
    Register,
    Request,
    Space,
    StartHow,
    StartWhere,
    Status,
    entry_bits,
    parts,
    space_words,
)


def space_bits(config: Config) -> int:
    """Bits that address a link word of the largest space."""
    return address_bits(max(space_words(config, space) for space in Space))


def Answer(config: Config) -> data.StructLayout:
    """What the responder is asked to send: a status, and `length` words."""
    return data.StructLayout({"sequence": 8, "status": Status, "length": space_bits(config) + 1})


class Judge(wiring.Component):
    """Decides whether a request is obeyed. Combinational, latency 0 cycles.

    Members: `request`, `address`, `length`: the header; `past`: address + length, of the bits that a space has; `running`;
    `expected`: the sequence number; `dirty`: a WRITE failed halfway; `last`: the status of the last request that was not a
    repetition; `status`: the judgement; `again`: the request repeats the one before it.
    """

    def __init__(self, config: Config):
        self._config = config
        super().__init__({
            "request": In(Request), "address": In(32), "length": In(32), "past": In(space_bits(config) + 2),
            "running": In(1), "expected": In(8), "dirty": In(1), "last": In(Status),
            "status": Out(Status), "again": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        request, config = self.request, self._config
        bits = space_bits(config)
        size, mask = Signal(bits + 1), Signal(8)
        with m.Switch(request.space):
            for space in Space:
                with m.Case(space):
                    m.d.comb += [
                        size.eq(space_words(config, space)),
                        mask.eq(parts(entry_bits(config, space)) - 1),
                    ]
        read, write = request.opcode == Opcode.READ, request.opcode == Opcode.WRITE
        start, reset = request.opcode == Opcode.START, request.opcode == Opcode.RESET
        readable = ((request.space == Space.REGISTER) | (request.space == Space.PROGRAM) | (request.space == Space.MEM)
                    | (request.space == Space.TOKENS))
        where, how = data.View(StartWhere, self.address), data.View(StartHow, self.length)
        writable = (request.space == Space.PROGRAM) | (request.space == Space.MEM) | (request.space == Space.WRAM)
        outside = (self.address[bits + 1:].any() | self.length[bits + 1:].any() | (self.past > size)
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
                    | (start & ((where.entry >= config.program_depth) | (where.reserved != 0)
                                | (how.count > MOST_TOKENS)))):
            m.d.comb += self.status.eq(Status.ADDRESS)
        with m.Elif(self.running & (start | ((read | write) & exclusive))):
            m.d.comb += self.status.eq(Status.BUSY)
        with m.Elif(start & self.dirty):
            m.d.comb += self.status.eq(Status.DIRTY)
        return m


class Framer(wiring.Component):
    """Takes frames in, a word a cycle, checks their CRCs, and keeps time.

    Latency: `done` rises in the cycle after the last word of a frame, or after the silence that ends one, and stays
    until `release`; no word is taken meanwhile, nor while `hold`. Throughput: a word as often as the checksum takes one.

    Members: `rx`; `hold`; `request`, `address`, `length`: the header, `address` counting up with the words of a payload, and
    of an answer with `advance`; `past`: the address after the last, added up here so that nobody has to in the cycle of the
    judgement; `jump`, `to`: go on at this address, for two words; `sound`: in this cycle the header's CRC is taken, and fits;
    `payload`: in this cycle a word of the payload is taken; `step`, `first`, `last`, `crc`: the checksum's; `done`, `fault`:
    what became of the frame, OK, CRC or CUT_OFF; `release`.
    """

    def __init__(self, config: Config):
        self._timeout = config.link_timeout
        self._bits = space_bits(config)
        super().__init__({
            "rx": In(stream.Signature(32)), "hold": In(1),
            "request": Out(Request), "address": Out(32), "length": Out(32), "past": Out(self._bits + 2),
            "step": Out(1), "first": Out(1), "last": In(1), "crc": In(32),
            "advance": In(1), "jump": In(1), "to": In(Register.as_shape()), "sound": Out(1), "payload": Out(1),
            "done": Out(1), "fault": Out(Status), "release": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        word, taken, bits = self.rx.payload, self.rx.valid & self.rx.ready, self._bits + 2
        header = Signal(data.ArrayLayout(32, 3))
        index, fits, checked = Signal(2), Signal(), Signal()
        # Counts up to a power of two.
        power = self._timeout.bit_length()
        begin = (1 << power) - self._timeout
        quiet, silent, following = Signal(power + 1, init=begin), Signal(), Signal(bits)
        m.d.comb += [
            fits.eq(word == self.crc), self.step.eq(checked & self.rx.valid & ~self.hold),
            self.request.eq(header[0]), self.length.eq(header[2]), self.address.eq(header[1]),
            silent.eq(quiet[-1]), following.eq(self.address + 1),
        ]
        m.d.sync += quiet.eq(Mux(self.rx.valid | silent, begin, quiet + 1))
        with m.If(self.payload | self.advance):
            m.d.sync += header[1][:bits].eq(following)
        with m.If(self.jump):
            m.d.sync += [header[1][:bits].eq(self.to), self.past.eq(self.to + 2)]

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
                    for number in range(3):
                        with m.If(index == number):
                            m.d.sync += header[number].eq(word)
                    with m.If(index == 2):
                        m.d.sync += self.past.eq(self.address[:bits] + word[:bits])
                    with m.If((index == 0) & (word[24:] != REQUEST_MAGIC) | (index == 3) & ~fits):
                        m.next = "NOISE"
                    with m.Elif(index == 3):
                        m.d.comb += self.sound.eq(1)
                        end(Status.OK)
                        with m.If((self.request.opcode == Opcode.WRITE) & (self.length != 0)):
                            m.next = "FIRST"
                with m.Elif(silent & (index != 0)):
                    end(Status.CUT_OFF)
            for state in ("FIRST", "PAYLOAD"):
                with m.State(state):
                    m.d.comb += [checked.eq(1), self.first.eq(state == "FIRST")]
                    with m.If(taken):
                        m.d.comb += self.payload.eq(1)
                        m.next = "PAYLOAD"
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


class Receiver(wiring.Component):
    """Acts on the frames that are sound, and says what is to be answered.

    Latency: a WRITE's word is on the host bus in the cycle in which it is taken; `start` and `reset` are pulses in the
    cycle after the last word of a frame, and `answer` is valid in the cycle after that. Throughput: a word a cycle
    within a frame; the next frame is taken when `answered`.

    Members: `rx`; `hold`: take no word; `space`, `address`, `write`, `data`: the host bus, in both directions; `start`,
    `begin`, `reset`; `running`; `made`: tokens that the run has made; `answer`, `answer_valid`: held until `answered`;
    `advance`: a word of the answer was read, and the next is to be addressed; `over`: there is none; `faults`: frames refused
    for their CRC or sequence, or cut off; `step`, `first`, `last`, `crc`: the checksum's.
    """

    def __init__(self, config: Config):
        self._config = config
        super().__init__({
            "rx": In(stream.Signature(32)), "hold": In(1),
            "space": Out(Space), "address": Out(MAX_BITS), "write": Out(1), "data": Out(32),
            "start": Out(1), "begin": Out(Begin), "reset": Out(1),
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
            self.write.eq(framer.payload & (status == Status.OK)), framer.hold.eq(self.hold),
            self.begin.entry.eq(where.entry), self.begin.token.eq(where.token),
            self.begin.position.eq(how.position), self.begin.count.eq(how.count),
            self.answer.sequence.eq(request.sequence),
        ]
        with m.If(token):
            m.d.comb += [self.space.eq(Space.TOKENS), self.answer.length.eq(1)]
        with m.Elif(opcode == Opcode.WAIT):
            m.d.comb += [self.space.eq(Space.REGISTER), self.answer.length.eq(Mux(status == Status.OK, 2, 0))]
        with m.Elif((opcode == Opcode.READ) & (status == Status.OK)):
            m.d.comb += self.answer.length.eq(framer.length)
        with m.If(framer.sound):
            m.d.sync += [status.eq(judge.status), again.eq(judge.again)]
        with m.If(self.write):
            m.d.sync += dirty.eq(1)
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
                with m.If(self.rx.valid):
                    m.d.comb += framer.release.eq(1)
                    m.next = "TAKE"
                # The address is the number of tokens that were sent.
                with m.Elif(framer.address[:len(self.made)] != self.made):
                    m.d.sync += status.eq(Status.TOKEN)
                    m.next = "ANSWER"
                with m.Elif(~self.running):
                    m.d.sync += status.eq(Status.OK)
                    m.d.comb += [framer.jump.eq(1), framer.to.eq(Register.CYCLES)]
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += self.answer_valid.eq(1)
                with m.If(self.answered):
                    with m.If(token):
                        m.next = "WAIT"
                    with m.Else():
                        m.d.comb += framer.release.eq(1)
                        m.next = "TAKE"
        return m

    def _obey(self, m, framer, again, dirty):
        """What a sound request does, in the cycle after its last word."""
        with m.Switch(framer.request.opcode):
            with m.Case(Opcode.RESET):
                m.d.comb += self.reset.eq(1)
                m.d.sync += dirty.eq(0)
            with m.Case(Opcode.WRITE):
                m.d.sync += dirty.eq(0)
            with m.Case(Opcode.START):
                m.d.comb += self.start.eq(~again)
            with m.Case(Opcode.WAIT):
                m.d.comb += framer.jump.eq(1)
                m.next = "WAIT"
