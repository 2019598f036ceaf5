"""The scalar registers, and the unit that computes with them."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .config import Config, address_bits
from .isa import Isa, Op, Sfu
from .sequencer import command_layout
from .sfu import EXPONENT_BITS, VALUE_BITS, Computed, Operand, Pace, Result

Scalar = data.StructLayout({"value": signed(VALUE_BITS), "exponent": signed(EXPONENT_BITS)})
"""Worth value * 2**-exponent: what multiplies a vector."""


class Scalars(wiring.Component):
    """Scalar registers; register 0 is 1. Reductions write the lower half of them, whole numbers, SFU instructions the upper
    half, mantissas with exponents: two banks, so that no write waits for another. Each is there twice, for the VXM and for SFU.

    ::

        command --> pace --> registers --> operand: + epsilon, or a * b --> result: zeros, tables --> registers

    Latency: the first SFU beat is `COMMAND_LATENCY` cycle after `command.valid`; the beat of cycle c reads its
    operands from there on and writes in cycle c + `latency`, QUANTISE its second result a cycle later. One beat is at work at
    a time: the next, or the next command, may come in the cycle of its last result. A register that is written in a cycle is
    read from the next on; a read takes `READ_LATENCY` cycle.

    Members: `command`; `address`, `scalar`: the VXM's read port; `write`, `write_address`, `write_value`: a
    reduction's result; `active`: a beat is at work; `overrun`: a beat or a command came too early.
    """

    COMMAND_LATENCY = Pace.LATENCY
    READ_LATENCY = 1
    LATENCY = READ_LATENCY + Operand.LATENCY + Result.LATENCY

    @classmethod
    def latency(cls, config: Config, function: Sfu) -> int:
        """Cycles from a beat to its result."""
        return cls.LATENCY + (Operand.steps(config) if function is Sfu.MULTIPLY else 0)

    def __init__(self, config: Config):
        self._config = config
        index = address_bits(config.scalars)
        super().__init__({
            "command": In(command_layout(Isa(config), Op.SFU)),
            "address": In(index), "scalar": Out(Scalar),
            "write": In(1), "write_address": In(index), "write_value": In(signed(32)),
            "active": Out(1), "overrun": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        start = self.command.operands
        m.submodules.pace = pace = Pace(start.count.shape().width, start.period.shape().width)
        m.submodules.operand = operand = Operand(self._config)
        m.submodules.result = result = Result()
        function, ends = Signal(Sfu), Signal()
        a, b, into = (Signal(len(start.a) - 1, name=name) for name in ("a", "b", "into"))
        m.d.comb += [
            pace.start.eq(self.command.valid), pace.count.eq(start.count), pace.period.eq(start.period),
            operand.function.eq(function), operand.beat.eq(pace.beat),
            result.function.eq(function), result.start.eq(operand.done), result.x.eq(operand.x),
            result.exponent.eq(operand.exponent),
            ends.eq(result.write & (result.second | (function != Sfu.QUANTISE))),
            self.overrun.eq((pace.begins & self.active & ~ends) | (self.command.valid & pace.more)),
        ]
        m.d.sync += self.active.eq(pace.begins | (self.active & ~ends))
        with m.If(pace.again):
            m.d.sync += [a.eq(a + 1), b.eq(b + 1)]
        with m.If(result.write):
            m.d.sync += into.eq(into + 1)
        with m.If(self.command.valid):
            m.d.sync += [a.eq(start.a), b.eq(start.b), into.eq(start.into), function.eq(start.function),
                         operand.epsilon.eq(start.epsilon)]
        self._registers(m, operand, Mux(operand.second, b, a), result, into)
        return m

    def _registers(self, m, operand, source, result, into):
        """The banks: what reductions leave, 32 bits of it for SFU, and what SFU computes."""
        half, of_half = self._config.scalars // 2, len(self.address) - 1
        memories = {
            name: Memory(shape=shape, depth=half, init=init)
            for name, shape, init in (("reduced", 32, [1]), ("computed", Computed, []), ("reduced_vxm", VALUE_BITS, [1]),
                                      ("computed_vxm", Computed, []))}
        found = {}
        for name, memory in memories.items():
            m.submodules[name] = memory
            read, write = memory.read_port(), memory.write_port()
            m.d.comb += [read.en.eq(1), read.addr.eq(self.address[:of_half] if name.endswith("_vxm") else source)]
            if name.startswith("reduced"):
                m.d.comb += [write.en.eq(self.write), write.addr.eq(self.write_address), write.data.eq(self.write_value)]
            else:
                m.d.comb += [write.en.eq(result.write), write.addr.eq(into), write.data.eq(result.result)]
            found[name] = read.data
        upper = Signal()
        m.d.sync += upper.eq(self.address[-1])
        computed = found["computed_vxm"]
        m.d.comb += [
            operand.reduced.eq(found["reduced"]), operand.computed.eq(found["computed"]),
            self.scalar.value.eq(Mux(upper, computed.value, found["reduced_vxm"])),
            self.scalar.exponent.eq(Mux(upper, computed.exponent, 0)),
        ]
