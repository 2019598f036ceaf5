"""The program memory of a compact tile."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..parts.host import HostBus
from ..spec.config import Config
from ..spec.protocol import Space
from ..spec.row_encoding import ROW_BITS, ROWS


class RowMemory(wiring.Component):
    """Holds the instructions of a compact tile: a link word is a row.

    Latency: a read takes `LATENCY` = 1 cycle.
    Throughput: a row a cycle; for the host, a link word a cycle.
    Cost: program_depth x `ROWS` x `ROW_BITS` bits of memory.

    Parameters: `config`.

    Members (no flow control):
        `address : In`, `enable : In(1)`, `row : Out(ROW_BITS)`: the read port, which keeps what it
            has read
        `host : In(HostBus)`: the link's bus, used between runs only
    """

    LATENCY = 1

    def __init__(self, config: Config):
        self._depth = config.program_depth * ROWS
        super().__init__({"address": In(range(self._depth)), "enable": In(1), "row": Out(ROW_BITS), "host": In(HostBus)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=unsigned(ROW_BITS), depth=self._depth, init=[])
        write, read, host = memory.write_port(), memory.read_port(), self.host
        mine = host.space == Space.PROGRAM
        m.d.comb += [
            write.addr.eq(host.address), write.data.eq(host.data), write.en.eq(host.write & mine),
            read.addr.eq(Mux(self.enable, self.address, host.address)),
            # Reads of other spaces go on during a run, in which the row that is waiting must stay.
            read.en.eq(self.enable | (host.read & mine)),
            self.row.eq(read.data), host.read_data.eq(Mux(mine, read.data, 0)),
        ]
        return m
