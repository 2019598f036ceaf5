"""The link: what stands between the host and the tile. The one place with handshakes."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..parts.checksum import Checksum
from ..parts.host import EntryReader, HostBus
from ..sequencer.sequencer import Begin
from ..spec.config import Config
from ..spec.isa import TOKEN_BITS
from ..spec.protocol import ID, MOST_TOKENS, Register, Space
from .receiver import Receiver
from .responder import Responder


class Registers(wiring.Component):
    """The registers, behind the host bus like a memory. Combinational, latency 0 cycles.

    Members: `host`; `values`, by the number of the register.
    """

    def __init__(self):
        super().__init__({"host": In(HostBus), "values": In(32).array(len(Register))})

    def elaborate(self, platform):
        m = Module()
        with m.If(self.host.space == Space.REGISTER):
            m.d.comb += self.host.read_data.eq(Array(self.values)[self.host.address[:Register.as_shape().width]])
        return m


class Tokens(wiring.Component):
    """The tokens that a run has made, behind the host bus like a memory; `count` is right the cycle after `made`.

    Members: `host`; `start`: of a run; `made`, `token`: a new one; `count`, of those made.
    """

    def __init__(self):
        super().__init__({
            "host": In(HostBus), "start": In(1), "made": In(1), "token": In(TOKEN_BITS),
            "count": Out(range(MOST_TOKENS + 1)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=TOKEN_BITS, depth=MOST_TOKENS, init=[])
        m.submodules.reader = reader = EntryReader(Space.TOKENS, 32)
        wiring.connect(m, wiring.flipped(self.host), reader.host)
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.addr.eq(self.count), write.data.eq(self.token), write.en.eq(self.made),
            read.addr.eq(reader.entry), read.en.eq(1), reader.data.eq(read.data),
        ]
        with m.If(self.start):
            m.d.sync += self.count.eq(0)
        with m.Elif(self.made):
            m.d.sync += self.count.eq(self.count + 1)
        return m


class Link(wiring.Component):
    """Frames in, the host bus and the start of runs out; frames out. See `marey.hdl.spec.protocol`.

    ::

        rx --> receiver --+-- writes --> host bus --> memories
                  |       +-- start, reset --> sequencer --> tokens
               answers                                          registers
                  v                                                 |
        tx <-- responder <------------- reads <-- host bus <--------+-- memories

    Throughput: `Config.crc_bits` of the 32 bits of a word a cycle. Latency: the first word of a response is on `tx` 3 cycles
    after the last word of its request was taken, or as many more as the checksum takes for it.

    Members: `rx`, `tx`: words; `host`: the bus; `hold`: no word may be written in this cycle; `start`, `begin`, `reset`: to
    the sequencer; `running`, `cycles`, `made`, `token`, `schedule_faults`: from it.
    """

    def __init__(self, config: Config):
        self._config = config
        super().__init__({
            "rx": In(stream.Signature(32)),
            "tx": Out(stream.Signature(32)),
            "host": Out(HostBus),
            "hold": In(1),
            "start": Out(1),
            "begin": Out(Begin),
            "reset": Out(1),
            "running": In(1),
            "made": In(1),
            "token": In(TOKEN_BITS),
            "cycles": In(32),
            "schedule_faults": In(32),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = Receiver(self._config)
        m.submodules.responder = responder = Responder(self._config)
        m.submodules.registers = registers = Registers()
        m.submodules.tokens = tokens = Tokens()
        wiring.connect(m, wiring.flipped(self.rx), receiver.rx)
        wiring.connect(m, wiring.flipped(self.tx), responder.tx)
        m.submodules.checksum = checksum = Checksum(self._config.crc_bits)
        # A frame is taken in or sent, never both at once.
        sending = receiver.answer_valid
        m.d.comb += [
            checksum.word.eq(Mux(sending, self.tx.payload, self.rx.payload)),
            checksum.step.eq(receiver.step | responder.step),
            checksum.first.eq(Mux(sending, responder.first, receiver.first)),
            *(part.eq(checksum.last) for part in (receiver.last, responder.last)),
            *(part.eq(checksum.crc) for part in (receiver.crc, responder.crc)),
        ]
        runs = Signal(16)
        m.d.sync += runs.eq(runs + receiver.start)
        values = {
            Register.ID: ID, Register.CONFIG: self._config.hash, Register.CYCLES: self.cycles,
            Register.SCHEDULE_FAULTS: self.schedule_faults, Register.RUNS: runs,
            Register.LINK_FAULTS: receiver.faults, Register.MADE: tokens.count,
        }
        m.d.comb += [registers.values[register.value].eq(value) for register, value in values.items()]
        m.d.comb += [
            receiver.running.eq(self.running), self.start.eq(receiver.start), self.begin.eq(receiver.begin),
            self.reset.eq(receiver.reset), receiver.hold.eq(self.hold), receiver.made.eq(tokens.count),
            tokens.start.eq(self.start), tokens.made.eq(self.made), tokens.token.eq(self.token),
            responder.answer.eq(receiver.answer), responder.answer_valid.eq(receiver.answer_valid),
            receiver.answered.eq(responder.answered),
            receiver.advance.eq(responder.advance), responder.over.eq(receiver.over),
            self.host.space.eq(receiver.space), self.host.address.eq(receiver.address),
            self.host.write.eq(receiver.write), self.host.data.eq(receiver.data), self.host.read.eq(responder.read),
            responder.read_data.eq(self.host.read_data | registers.host.read_data | tokens.host.read_data),
        ]
        for own in (registers.host, tokens.host):
            m.d.comb += [own.space.eq(self.host.space), own.address.eq(self.host.address), own.read.eq(self.host.read)]
        return m
