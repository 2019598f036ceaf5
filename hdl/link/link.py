"""The link between the host and the tile. It is the only place with handshakes."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..parts.checksum import Checksum
from ..parts.host import HostBus
from ..spec.command import begin_layout
from ..spec.config import Config
from ..spec.protocol import ID, Outcome, Register
from .receiver import Receiver
from .registers import Registers
from .responder import Responder
from .tokens import Tokens


class Link(wiring.Component):
    """Connects the host to the tile: frames in and out, the host bus, and the start of runs.

    ::

        rx --> receiver --+-- writes --> host bus --> memories
                  |       +-- start, reset --> sequencer --> tokens
               answers                                          registers
                  v                                                 |
        tx <-- responder <------------- reads <-- host bus <--------+-- memories

    `marey.hdl.spec.protocol` says what is in a frame.

    Latency: the first word of a response is on `tx` 3 cycles after the last word of its request was
    taken, or as many more as the checksum takes for it.
    Throughput: `Config.crc_bits` of the 32 bits of a word a cycle.
    Cost: a `Receiver`, a `Responder`, one `Checksum` that both use, and a memory for tokens.

    Parameters: `config`.

    Members:
        `rx : In(stream.Signature(32))`, `tx : Out(stream.Signature(32))`: words from and to the
            host
        `host : Out(HostBus)`: to the memories, no flow control
        `hold : In(1)`: no word may be written in this cycle
        `start : Out(1)`, `begin : Out(begin_layout(config))`: a run begins
        `reset : Out(1)`: the run ends
        `running : In(1)`, `cycles : In(32)`: of the sequencer
        `made : In(1)`, `token : In(config.token_bits)`: a token was made
        `schedule_faults : In(16)`: of the tile
    """

    def __init__(self, config: Config):
        self._config = config
        super().__init__({
            "rx": In(stream.Signature(32)),
            "tx": Out(stream.Signature(32)),
            "host": Out(HostBus),
            "hold": In(1),
            "start": Out(1),
            "begin": Out(begin_layout(config)),
            "reset": Out(1),
            "running": In(1),
            "made": In(1),
            "token": In(config.token_bits),
            "cycles": In(32),
            "schedule_faults": In(16),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = Receiver(self._config)
        m.submodules.responder = responder = Responder(self._config)
        m.submodules.registers = registers = Registers()
        m.submodules.tokens = tokens = Tokens(self._config)
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
        outcome = Signal(Outcome)
        m.d.comb += [outcome.schedule_faults.eq(self.schedule_faults), outcome.made.eq(tokens.count)]
        values = {
            Register.ID: ID, Register.CONFIG: self._config.hash, Register.CYCLES: self.cycles,
            Register.OUTCOME: outcome, Register.RUNS: runs, Register.LINK_FAULTS: receiver.faults,
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
