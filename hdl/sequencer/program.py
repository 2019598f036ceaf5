"""The program memory."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..parts.host import EntryReader, HostBus
from ..spec.config import MAX_BITS, Config
from ..spec.isa import isa_of
from ..spec.protocol import Space, parts
from ..spec.row_encoding import LINK_BITS


class Program(wiring.Component):
    """Holds the instructions, in a memory for each 32 bits: the host writes them by link words.

    Latency: a read takes `LATENCY` = 1 cycle.
    Throughput: an instruction a cycle; for the host, a link word a cycle.
    Cost: program_depth x width of an instruction in bits of memory.

    Parameters: `config`.

    Members (no flow control):
        `address : In`, `enable : In(1)`, `code : Out`: the read port, which keeps what it has read
        `host : In(HostBus)`: the link's bus, used between runs only
    """

    LATENCY = 1

    def __init__(self, config: Config):
        self._depth, self._width = config.program_depth, isa_of(config).width
        super().__init__({
            "address": In(range(self._depth)), "enable": In(1), "code": Out(self._width), "host": In(HostBus),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.host_reader = reader = EntryReader(Space.PROGRAM, self._width)
        wiring.connect(m, wiring.flipped(self.host), reader.host)
        writing, low = Signal(), (parts(self._width) - 1).bit_length()
        address, word = Signal(MAX_BITS, reset_less=True), Signal(LINK_BITS, reset_less=True)
        m.d.sync += [
            writing.eq(self.host.write & (self.host.space == Space.PROGRAM)),
            address.eq(self.host.address), word.eq(self.host.data),
        ]
        found = []
        for part, start in enumerate(range(0, self._width, LINK_BITS)):
            width = min(LINK_BITS, self._width - start)
            m.submodules[f"part{part}"] = memory = Memory(shape=unsigned(width), depth=self._depth, init=[])
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [
                write.addr.eq(address[low:]), write.data.eq(word), write.en.eq(writing & (address[:low] == part)),
                read.addr.eq(Mux(reader.reading, reader.entry, self.address)),
                read.en.eq(reader.reading | self.enable),
            ]
            found.append(read.data)
        m.d.comb += [self.code.eq(Cat(found)), reader.data.eq(self.code)]
        return m
