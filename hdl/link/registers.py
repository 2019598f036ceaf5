"""The registers that the host reads."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from ..parts.host import HostBus
from ..spec.protocol import Register, Space


class Registers(wiring.Component):
    """Puts the tile's registers on the host bus, like a memory.

    Latency: 0 cycles, it is combinational.
    Throughput: a read a cycle.
    Cost: a multiplexer of 32 bits.

    Members:
        `host : In(HostBus)`: the bus
        `values : In(32).array`: the registers, by their number
    """

    def __init__(self):
        super().__init__({"host": In(HostBus), "values": In(32).array(len(Register))})

    def elaborate(self, platform):
        m = Module()
        with m.If(self.host.space == Space.REGISTER):
            m.d.comb += self.host.read_data.eq(Array(self.values)[self.host.address[:Register.as_shape().width]])
        return m
