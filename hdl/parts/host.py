"""The host's way into the memories: the bus, and what stands between it and a memory.

No flow control: the link writes a word a cycle when it has one, and reads with a fixed latency.
"""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..spec.config import MAX_BITS
from ..spec.protocol import Space, parts

HOST_READ_LATENCY = 3
"""Cycles from `read` to the cycle in which `read_data` is the word."""

HostBus = wiring.Signature({
    "space": Out(Space),
    "address": Out(MAX_BITS),
    "write": Out(1),
    "data": Out(32),
    "read": Out(1),
    "read_data": In(32),
})
"""The bus from the link to the memories, no flow control. `address` counts link words within `space`; `write` and
`read` are strobes. `space` and `address` of a read stay until `read_data` is the word."""


class EntryWriter(wiring.Component):
    """Collects the link words of an entry, and writes it to a memory with the last one.

    Latency: 1 cycle from the last word's strobe to `enable`.
    Throughput: a word a cycle.
    Cost: a register for an entry.

    Parameters: `space`, the space that it listens to; `bits`, of an entry.

    Members (no flow control):
        `host : In(HostBus)`: the bus
        `enable : Out(1)`, `entry : Out`, `data : Out(bits)`: a memory's write port
    """

    LATENCY = 1

    def __init__(self, space: Space, bits: int):
        self._space = space
        self._parts = parts(bits)
        self._low = (self._parts - 1).bit_length()
        super().__init__({
            "host": In(HostBus),
            "enable": Out(1),
            "entry": Out(MAX_BITS - self._low),
            "data": Out(bits),
        })

    def elaborate(self, platform):
        m = Module()
        low = self._low
        words = Array(Signal(32, name=f"word{i}", reset_less=True) for i in range(self._parts))
        part = self.host.address[:low]
        m.d.sync += self.enable.eq(0)
        with m.If(self.host.write & (self.host.space == self._space)):
            m.d.sync += [
                words[part].eq(self.host.data),
                self.entry.eq(self.host.address[low:]),
                self.enable.eq(part.all()),
            ]
        m.d.comb += self.data.eq(Cat(words))
        return m


class EntryReader(wiring.Component):
    """Picks the link word for the host out of an entry that a memory has read.

    Latency: `reading` is 1 cycle after the host's `read`, because the strobe has a long way;
    `read_data` 1 cycle after `data`.
    Throughput: a word every `HOST_READ_LATENCY` cycles.
    Cost: a multiplexer and a register of 32 bits.

    Parameters: `space`, the space that it listens to; `bits`, of an entry.

    Members (no flow control):
        `host : In(HostBus)`: the bus; `read_data` is 0 while another space is asked
        `reading : Out(1)`: the memory's port is the host's in this cycle
        `entry : Out`: the address of the entry
        `data : In(bits)`: the entry, a cycle later
    """

    def __init__(self, space: Space, bits: int):
        self._space = space
        self._parts = parts(bits)
        self._low = (self._parts - 1).bit_length()
        super().__init__({
            "host": In(HostBus),
            "reading": Out(1),
            "entry": Out(MAX_BITS - self._low),
            "data": In(bits),
        })

    def elaborate(self, platform):
        m = Module()
        low, mine = self._low, self.host.space == self._space
        words = Array(self.data[start:start + 32] for start in range(0, self._parts * 32, 32))
        m.d.comb += self.entry.eq(self.host.address[low:])
        # A block RAM's data come late in a cycle, and the link is far away: the multiplexer has a cycle of its own.
        m.d.sync += [
            self.reading.eq(self.host.read & mine),
            self.host.read_data.eq(Mux(mine, words[self.host.address[:low]], 0)),
        ]
        return m
