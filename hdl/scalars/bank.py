"""The scalar registers: in two banks, or in one."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..spec.config import Config, address_bits
from ..spec.ports import EXPONENT_BITS, SCALAR_BITS, Scalar

Computed = data.StructLayout({"value": SCALAR_BITS, "exponent": signed(EXPONENT_BITS)})
"""A scalar that the scalar unit has computed: it is never negative."""


class Bank(wiring.Component):
    """Holds the scalar registers, twice: for the VXM and for the scalar unit.

    Register 0 is 1. The lower half has whole numbers, which reductions leave; the upper half has
    what the scalar unit computes. The halves are memories of their own, so that no write waits for
    another. In a compact tile they are one memory, and the schedule has one write a cycle.

    Latency: a read takes `READ_LATENCY` cycle. A register that is written in a cycle has its new
    value from the next on.
    Throughput: a write of each half and a read on each side a cycle.
    Cost: four memories, or two in a compact tile.

    Parameters: `config`.

    Members (no flow control):
        `reduce : In(1)`, `reduce_into : In`, `reduce_value : In(signed(32))`: a write of the lower
            half
        `compute : In(1)`, `compute_into : In`, `compute_value : In(Computed)`: a write of the upper
            half
        `address : In`, `scalar : Out(Scalar)`: the VXM's read port
        `source : In`, `upper : In(1)`: the scalar unit's read port: register in its half, and which
            half
        `reduced : Out(signed(32))`, `computed : Out(Computed)`: what it reads, if it is in the
            lower or the upper half
    """

    READ_LATENCY = 1

    def __init__(self, config: Config):
        self._config = config
        index, half = address_bits(config.scalars), address_bits(config.scalars // 2)
        super().__init__({
            "reduce": In(1), "reduce_into": In(half), "reduce_value": In(signed(32)),
            "compute": In(1), "compute_into": In(half), "compute_value": In(Computed),
            "address": In(index), "scalar": Out(Scalar),
            "source": In(half), "upper": In(1), "reduced": Out(signed(32)), "computed": Out(Computed),
        })

    def elaborate(self, platform):
        m = Module()
        half = self._config.scalars // 2
        reduce = self.reduce, self.reduce_into, self.reduce_value
        compute = self.compute, self.compute_into, self.compute_value
        if self._config.compact:
            into = Mux(self.compute, Cat(self.compute_into, 1), Cat(self.reduce_into, 0))
            written, seen = Signal(32), Signal(Scalar)
            m.d.comb += [written.eq(Mux(self.compute, self.compute_value, self.reduce_value)), seen.value.eq(written)]
            with m.If(self.compute):
                m.d.comb += seen.exponent.eq(self.compute_value.exponent)
            write = self.reduce | self.compute
            whole = self._memory(m, "whole", 2 * half, (write, into, written), Cat(self.source, self.upper), 1)
            m.d.comb += [
                self.reduced.eq(whole), self.computed.eq(whole),
                self.scalar.eq(self._memory(m, "whole_vxm", 2 * half, (write, into, seen), self.address, 1)),
                Assert(~(self.reduce & self.compute), "schedule fault: two scalars are written in one cycle"),
            ]
            return m
        upper, near = Signal(), self.address[:-1]
        m.d.sync += upper.eq(self.address[-1])
        reduced = self._memory(m, "reduced_vxm", half, (*reduce[:2], self.reduce_value[:SCALAR_BITS]), near, 1).as_signed()
        computed = data.View(Scalar, self._memory(m, "computed_vxm", half, compute, near, 0))
        m.d.comb += [
            self.reduced.eq(self._memory(m, "reduced", half, reduce, self.source, 1)),
            self.computed.eq(self._memory(m, "computed", half, compute, self.source, 0)),
            self.scalar.value.eq(Mux(upper, computed.value, reduced)),
            self.scalar.exponent.eq(Mux(upper, computed.exponent, 0)),
        ]
        return m

    def _memory(self, m, name, depth, write, address, first):
        """Makes a memory with this write port; returns what it reads. Word 0 begins as `first`."""
        enable, into, value = write
        m.submodules[name] = memory = Memory(shape=len(Value.cast(value)), depth=depth, init=[first])
        read_port, write_port = memory.read_port(), memory.write_port()
        m.d.comb += [
            read_port.en.eq(1), read_port.addr.eq(address),
            write_port.en.eq(enable), write_port.addr.eq(into), write_port.data.eq(value),
        ]
        return read_port.data
