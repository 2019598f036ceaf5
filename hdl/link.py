"""The link: what stands between the host and the tile. The one place with handshakes."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .config import Config
from .host import EntryReader, HostBus
from .isa import TOKEN_BITS
from .protocol import ID, MOST_TOKENS, Register, Space
from .receiver import Receiver
from .responder import Responder
from .sequencer import Begin


class Registers(wiring.Component):
    """The registers, behind the host bus like a memory: `HOST_READ_LATENCY` cycles after the strobe.

    Members: `host`; `values`, by the number of the register.
    """

    def __init__(self):
        super().__init__({"host": In(HostBus), "values": In(32).array(len(Register))})

    def elaborate(self, platform):
        m = Module()
        asked, index = Signal(2), Signal(Register)
        value = Signal(32)
        m.d.sync += [
            asked.eq(Cat(self.host.read & (self.host.space == Space.REGISTER), asked)),
            index.eq(self.host.address),
            value.eq(Array(self.values)[index.as_value()]),
            self.host.read_data.eq(Mux(asked[1], value, 0)),
        ]
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
    """Frames in, the host bus and the start of runs out; frames out. See `marey.hdl.protocol`.

    ::

        rx --> receiver --+-- writes --> host bus --> memories
                  |       +-- start, reset --> sequencer --> tokens
               answers                                          registers
                  v                                                 |
        tx <-- responder <------------- reads <-- host bus <--------+-- memories

    Throughput: a word a cycle in either direction. Latency: the first word of a response is on `tx` 3 cycles after the
    last word of its request was taken.

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
        m.submodules.responder = responder = Responder()
        m.submodules.registers = registers = Registers()
        m.submodules.tokens = tokens = Tokens()
        wiring.connect(m, wiring.flipped(self.rx), receiver.rx)
        wiring.connect(m, wiring.flipped(self.tx), responder.tx)
        runs = Signal(32)
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

            # The receiver writes while it takes a frame in, the responder reads while it sends one.
            self.host.space.eq(Mux(responder.read, responder.space, receiver.space)),
            self.host.address.eq(Mux(responder.read, responder.address, receiver.address)),
            self.host.write.eq(receiver.write), self.host.data.eq(receiver.data), self.host.read.eq(responder.read),
            responder.read_data.eq(self.host.read_data | registers.host.read_data | tokens.host.read_data),
        ]
        for own in (registers.host, tokens.host):
            m.d.comb += [own.space.eq(self.host.space), own.address.eq(self.host.address), own.read.eq(self.host.read)]
        return m
