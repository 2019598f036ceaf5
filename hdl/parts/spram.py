"""A memory with a single port."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..spec.config import address_bits


class SinglePortRam(wiring.Component):
    """A memory that is read or written in a cycle, not both.

    It starts undefined, and what is read in the cycle of a write is undefined. A platform whose
    device has such memories puts them here: its `get_single_port_ram(ram)` returns an elaboratable,
    or None where this one does not suit them.

    Latency: a read takes `LATENCY` = 1 cycle.
    Throughput: a word, or parts of one, a cycle.
    Cost: `width` x `depth` bits of memory.

    Parameters: `width`, bits of a word; `depth`, words; `grain`, bits of the parts of a word that
    can be written alone.

    Members:
        `address : In`: of the word
        `data : Out(width)`: the word that was read
        `write : In(width // grain)`, `write_data : In(width)`: a bit for each part that is written
    """

    LATENCY = 1

    def __init__(self, *, width: int, depth: int, grain: int):
        self.width, self.depth, self.grain = width, depth, grain
        super().__init__({
            "address": In(address_bits(depth)),
            "data": Out(width),
            "write": In(width // grain),
            "write_data": In(width),
        })

    def elaborate(self, platform):
        device = getattr(platform, "get_single_port_ram", lambda ram: None)(self)
        if device is not None:
            return device
        m = Module()
        m.submodules.memory = memory = Memory(shape=unsigned(self.width), depth=self.depth, init=[])
        read, write = memory.read_port(), memory.write_port(granularity=self.grain)
        m.d.comb += [
            read.addr.eq(self.address), read.en.eq(1), self.data.eq(read.data),
            write.addr.eq(self.address), write.data.eq(self.write_data), write.en.eq(self.write),
        ]
        return m
