"""The program memory, and what fetches from it ahead of the issue."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..parts.host import EntryReader, HostBus
from ..spec.config import MAX_BITS, Config
from ..spec.isa import isa_of
from ..spec.protocol import Space, parts

LINK_BITS = 32


class Program(wiring.Component):
    """Memory of instructions: one for each 32 bits, as the host's link words lie in them.

    Read latency `LATENCY` = 1 cycle; a write of the host a cycle.

    Members: `address`, `enable`, `code`: the read port; `host`: the link's way in, used only between runs.
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


class Fetch(wiring.Component):
    """Fetches instructions in a row, two ahead: one at the memory's output, one in `instruction`; an instruction a cycle.

    Latency: after `go` the instruction at `entry` is `ready` `LATENCY` cycles later.

    Members: `running`; `go`, `entry`: go on there, what was fetched is void; `instruction`, `ready`: the next, until `take`;
    `host`: the program memory's.
    """

    LATENCY = Program.LATENCY + 2

    def __init__(self, config: Config):
        self._config = config
        super().__init__({
            "running": In(1), "go": In(1), "entry": In(range(config.program_depth)),
            "instruction": Out(isa_of(config).layout), "ready": Out(1), "take": In(1), "host": In(HostBus),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.program = program = Program(self._config)
        wiring.connect(m, wiring.flipped(self.host), program.host)
        pc, ahead, load, move = Signal.like(self.entry), Signal(), Signal(), Signal()
        m.d.comb += [
            move.eq(ahead & (~self.ready | self.take)), load.eq(self.running & (~ahead | move)),
            program.address.eq(pc), program.enable.eq(load),
        ]
        with m.If(load):
            m.d.sync += [pc.eq(pc + 1), ahead.eq(1)]
        with m.Elif(move):
            m.d.sync += ahead.eq(0)
        with m.If(move):
            m.d.sync += self.instruction.as_value().eq(program.code)
        m.d.sync += self.ready.eq(move | (self.ready & ~self.take))
        with m.If(self.go):
            m.d.sync += [pc.eq(self.entry), ahead.eq(0), self.ready.eq(0)]
        return m
