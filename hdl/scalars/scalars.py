"""The scalar registers, and the unit that computes with them."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..spec.command import arrives, command_layout
from ..spec.config import Config, address_bits
from ..spec.isa import Op, Sfu
from ..spec.ports import Scalar
from .bank import Bank
from .operand import Operand
from .pace import Pace
from .result import Result


class Scalars(wiring.Component):
    """Holds the scalar registers and computes with them: scale of int8, 1 / sqrt(x), 1 / x, a * b.

    ::

        command --> pace --> bank --> operand: + epsilon, or a * b --> result: tables --> bank

    Reductions of the VXM write the lower half of the registers, SFU instructions the upper half, as
    mantissas with exponents.

    Latency: the first SFU beat is `COMMAND_LATENCY` cycle after `command.valid`. The beat of cycle
    c reads its operands from then on, and writes in cycle c + `latency(config, function)`, QUANTISE
    its second result a cycle later.
    Throughput: one beat at a time: the next one, or the next command, may come in the cycle of the
    last result.
    Cost: a `Bank`, an `Operand` and a `Result`; no hardware multiplier.

    Parameters: `config`.

    Members (no flow control):
        `command : In(command_layout(config, Op.SFU))`: the instruction
        `address : In`, `scalar : Out(Scalar)`: the VXM's read port
        `write : In(1)`, `write_address : In`, `write_value : In(signed(32))`: a reduction's result
        `active : Out(1)`: a beat is at work
        `overrun : Out(1)`: fault, a beat came too early, or the first operands of a command
    """

    COMMAND_LATENCY = Pace.LATENCY
    LATENCY = Bank.READ_LATENCY + Operand.LATENCY + Result.LATENCY

    @classmethod
    def latency(cls, config: Config, function: Sfu) -> int:
        """Cycles from a beat to its result."""
        return cls.LATENCY + (Operand.steps(config) if function is Sfu.MULTIPLY else 0)

    def __init__(self, config: Config):
        self._config = config
        index = address_bits(config.scalars)
        super().__init__({
            "command": In(command_layout(config, Op.SFU)),
            "address": In(index), "scalar": Out(Scalar),
            "write": In(1), "write_address": In(index), "write_value": In(signed(32)),
            "active": Out(1), "overrun": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        start = self.command.operands
        m.submodules.bank = bank = Bank(self._config)
        m.submodules.pace = pace = Pace(start.count.shape().width, start.period.shape().width)
        m.submodules.operand = operand = Operand(self._config)
        m.submodules.result = result = Result()
        function, ends, busy = Signal(Sfu), Signal(), Signal()
        a, b, into = (Signal(len(start.a) - 1, name=name) for name in ("a", "b", "into"))
        m.d.comb += [
            pace.start.eq(self.command.valid), pace.count.eq(start.count), pace.period.eq(start.period),
            operand.function.eq(function), operand.beat.eq(pace.beat),
            result.function.eq(function), result.start.eq(operand.done), result.x.eq(operand.x),
            result.exponent.eq(operand.exponent),
            ends.eq(result.write & (result.second | (function != Sfu.QUANTISE))),
            busy.eq(self.active & ~ends),
            self.overrun.eq((pace.again & busy) | (arrives(self._config, Op.SFU, self.command, "a") & (busy | pace.more))),
        ]
        m.d.sync += self.active.eq(pace.begins | (self.active & ~ends))
        with m.If(pace.again):
            m.d.sync += [a.eq(a + 1), b.eq(b + 1)]
        with m.If(result.write):
            m.d.sync += into.eq(into + 1)
        for name, part in {"a": a, "b": b, "into": into, "function": function, "epsilon": operand.epsilon}.items():
            with m.If(arrives(self._config, Op.SFU, self.command, name)):
                m.d.sync += part.eq(start[name])
        m.d.comb += [
            bank.address.eq(self.address), self.scalar.eq(bank.scalar),
            bank.reduce.eq(self.write), bank.reduce_into.eq(self.write_address), bank.reduce_value.eq(self.write_value),
            bank.compute.eq(result.write), bank.compute_into.eq(into), bank.compute_value.eq(result.result),
            bank.source.eq(Mux(operand.second, b, a)), bank.upper.eq(function == Sfu.MULTIPLY),
            operand.reduced.eq(bank.reduced), operand.computed.eq(bank.computed),
        ]
        return m
