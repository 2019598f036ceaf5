"""The program memory, and what fetches from it ahead of the issue."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .config import MAX_BITS, Config
from .host import EntryReader, HostBus
from .isa import isa_of
from .protocol import Space, parts

LINK_BITS = 32


def row_bits(config: Config) -> int:
    """Bits of a row of the program memory: whole link words where there are several to an instruction."""
    width, rows = isa_of(config).width, config.fetches
    return width if rows == 1 else -(-width // (rows * LINK_BITS)) * LINK_BITS


class Program(wiring.Component):
    """Memory of instructions, as the host's link words lie in them: a memory for each 32 bits of a row.

    An instruction is `fetches` rows; row r has the link words r, r + fetches and so on of its entry.

    Read latency `LATENCY` = 1 cycle; a write of the host a cycle.

    Members: `address`, `enable`, `row`: the read port; `host`: the link's way in, used only between runs.
    """

    LATENCY = 1

    def __init__(self, config: Config):
        self._rows = config.fetches
        self._depth = config.program_depth * self._rows
        self._width = isa_of(config).width
        super().__init__({
            "address": In(range(self._depth)), "enable": In(1), "row": Out(row_bits(config)), "host": In(HostBus),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.host_reader = reader = EntryReader(Space.PROGRAM, self._width)
        wiring.connect(m, wiring.flipped(self.host), reader.host)
        writing, low, row = Signal(), (parts(self._width) - 1).bit_length(), (self._rows - 1).bit_length()
        address, word = Signal(MAX_BITS, reset_less=True), Signal(LINK_BITS, reset_less=True)
        m.d.sync += [
            writing.eq(self.host.write & (self.host.space == Space.PROGRAM)),
            address.eq(self.host.address), word.eq(self.host.data),
        ]
        found = []
        for part, start in enumerate(range(0, len(self.row), LINK_BITS)):
            width = min(LINK_BITS, len(self.row) - start)
            m.submodules[f"part{part}"] = memory = Memory(shape=unsigned(width), depth=self._depth, init=[])
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [
                write.addr.eq(Cat(address[:row], address[low:])), write.data.eq(word),
                write.en.eq(writing & (address[row:low] == part)),
                read.addr.eq(Mux(reader.reading, Cat(self.host.address[:row], reader.entry), self.address)),
                read.en.eq(reader.reading | self.enable),
            ]
            found.append(read.data)
        # A word of the host's is in the row that was read, whichever that is.
        m.d.comb += [self.row.eq(Cat(found)), reader.data.eq(Cat(word.replicate(self._rows) for word in found))]
        return m


class Fetch(wiring.Component):
    """Fetches instructions in a row.

    Where an instruction is one row, two ahead: one at the memory's output, one in `instruction`; an instruction a cycle.
    Where it is several, the last is at the memory's output and the others are kept: an instruction in `interval(config)`
    cycles, and after `take` it stays for a cycle, and as long as `hold` is 1.

    Latency: after `go` the instruction at `entry` is `ready` `latency(config)` cycles later.

    Members: `running`; `go`, `entry`: go on there, what was fetched is void; `instruction`, `ready`: the next, until `take`;
    `hold`; `host`: the program memory's.
    """

    @staticmethod
    def latency(config: Config) -> int:
        """Cycles from `go` to the instruction."""
        return Program.LATENCY + max(config.fetches, 2)

    @staticmethod
    def interval(config: Config) -> int:
        """Cycles from one instruction to the next."""
        return 1 if config.fetches == 1 else Program.LATENCY + config.fetches

    def __init__(self, config: Config):
        self._config = config
        super().__init__({
            "running": In(1), "go": In(1), "entry": In(range(config.program_depth)), "hold": In(1),
            "instruction": Out(isa_of(config).layout), "ready": Out(1), "take": In(1), "host": In(HostBus),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.program = program = Program(self._config)
        wiring.connect(m, wiring.flipped(self.host), program.host)
        (self._ahead if self._config.fetches == 1 else self._in_rows)(m, program)
        return m

    def _ahead(self, m, program):
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
            m.d.sync += self.instruction.as_value().eq(program.row)
        m.d.sync += self.ready.eq(move | (self.ready & ~self.take))
        with m.If(self.go):
            m.d.sync += [pc.eq(self.entry), ahead.eq(0), self.ready.eq(0)]

    def _in_rows(self, m, program):
        fetches = self._config.fetches
        address, out, load = Signal.like(program.address), Signal(range(fetches)), Signal()
        last, row = fetches - 1, (fetches - 1).bit_length()
        # The row at the memory's output, if it is one of this instruction's.
        valid = Signal()
        m.d.comb += [
            self.ready.eq(valid & (out == last)), load.eq(self.running & ~self.ready & ~self.hold),
            program.address.eq(address), program.enable.eq(load),
        ]
        kept = [Signal.like(program.row, name=f"row{index}", reset_less=True) for index in range(last)]
        for index, part in enumerate(kept):
            with m.If(valid & (out == index)):
                m.d.sync += part.eq(program.row)
        with m.If(load):
            m.d.sync += [address.eq(address + 1), out.eq(address[:row]), valid.eq(1)]
        with m.Elif(self.take):
            m.d.sync += valid.eq(0)
        with m.If(self.go):
            m.d.sync += [address.eq(self.entry << row), valid.eq(0)]
        rows = [*kept, program.row]
        words = [part.word_select(word, LINK_BITS) for word in range(len(program.row) // LINK_BITS) for part in rows]
        m.d.comb += self.instruction.as_value().eq(Cat(words))
