"""The scalar registers, and the unit that computes with them."""

from itertools import pairwise

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .config import Config, address_bits
from .integer import MANTISSA_BITS, QUANTISE, QUANTISE_BITS, RECIPROCAL, RECIPROCAL_BITS, RSQRT, RSQRT_BITS, UNQUANTISE
from .isa import Isa, Op, Sfu
from .repeat import Repeat
from .sequencer import command_layout

EXPONENT_BITS = 8
Scalar = data.StructLayout({"value": signed(32), "exponent": signed(EXPONENT_BITS)})
"""Worth value * 2**-exponent. What multiplies a vector has a value of at most 16 bits."""


class Scalars(wiring.Component):
    """Scalar registers; register 0 is 1. Reductions write the lower half of them, SFU instructions the upper half, and
    the VXM and SFU instructions read all: two banks, so that no write waits for another.

    ::

        command --> repeat --> registers --> + epsilon, or a * b --> leading zeros --> shift --> tables --> registers

    Latency: the first SFU beat is `COMMAND_LATENCY` cycle after `command.valid`; the beat of cycle c reads its
    operands there and writes in cycle c + `LATENCY`, QUANTISE its second result a cycle later. A register that
    is written in a cycle is read from the next on; a read takes `READ_LATENCY` cycle.

    Members: `command`; `address`, `scalar`: the VXM's read port; `write`, `write_address`, `write_value`: a
    reduction's result; `active`: an SFU beat; `overrun`, `collision`: the schedule broke a promise.
    """

    COMMAND_LATENCY = Repeat.LATENCY
    READ_LATENCY = 1
    LATENCY = READ_LATENCY + 4

    def __init__(self, config: Config):
        self._config = config
        index = address_bits(config.scalars)
        super().__init__({
            "command": In(command_layout(Isa(config), Op.SFU)),
            "address": In(index), "scalar": Out(Scalar),
            "write": In(1), "write_address": In(index), "write_value": In(signed(32)),
            "active": Out(1), "overrun": Out(1), "collision": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        start = self.command.operands
        one = Scalar.const({"value": 1})
        half = self._config.scalars // 2
        m.submodules.reduced = reduced = Memory(shape=Scalar, depth=half, init=[one])
        m.submodules.computed = computed = Memory(shape=Scalar, depth=half, init=[])
        write_reduced, write = reduced.write_port(), computed.write_port()

        def read(address):
            """Either bank's register, a cycle later."""
            ports, upper = [bank.read_port() for bank in (reduced, computed)], Signal()
            m.d.comb += [port.addr.eq(address) for port in ports] + [port.en.eq(1) for port in ports]
            m.d.sync += upper.eq(address[-1])
            found = Signal(Scalar)
            m.d.comb += found.eq(Mux(upper, ports[1].data, ports[0].data))
            return found

        m.submodules.repeat = repeat = Repeat()
        m.d.comb += [
            repeat.start.eq(self.command.valid), repeat.inner.eq(1), repeat.middle.eq(1), repeat.outer.eq(start.count),
            repeat.interval.eq(1), repeat.period.eq(start.period), repeat.paced.eq(start.paced),
            self.overrun.eq(repeat.overrun),
            self.scalar.eq(read(self.address)),
        ]
        a, b, epsilon = Signal.like(start.a), Signal.like(start.b), Signal.like(start.epsilon)
        beat = data.StructLayout({"active": 1, "function": Sfu, "into": start.into.shape()})
        beats = [Signal(beat, name=f"beat{stage}") for stage in range(self.LATENCY + 2)]
        function, into = Signal(Sfu), Signal.like(start.into)
        with m.If(repeat.round):
            m.d.sync += [a.eq(a + 1), b.eq(b + 1), into.eq(into + 1)]
        with m.If(self.command.valid):
            m.d.sync += [a.eq(start.a), b.eq(start.b), into.eq(start.into), epsilon.eq(start.epsilon),
                         function.eq(start.function)]
        m.d.comb += [
            self.active.eq(repeat.active),
            beats[0].active.eq(repeat.active), beats[0].function.eq(function), beats[0].into.eq(into),
        ]
        m.d.sync += [after.eq(before) for before, after in pairwise(beats)]

        # Stage 1: one number, and what its exponent is so far.
        x, exponent = Signal(32, reset_less=True), Signal(signed(EXPONENT_BITS), reset_less=True)
        first, second = read(a), read(b)
        multiplied = Signal()
        m.d.comb += multiplied.eq(beats[1].function == Sfu.MULTIPLY)
        m.d.sync += exponent.eq(Mux(multiplied, first.exponent + second.exponent, 0))
        with m.If(multiplied):
            m.d.sync += x.eq(first.value[:16] * second.value[:16])
        with m.Elif(beats[1].function == Sfu.RSQRT):
            m.d.sync += x.eq(first.value + epsilon)
        with m.Else():
            m.d.sync += x.eq(first.value)
        # Stage 2: its leading zeros; 0 counts as 1.
        zeros, x2, exponent2 = Signal(5, reset_less=True), Signal.like(x), Signal.like(exponent)
        m.d.sync += [zeros.eq(31), x2.eq(Mux(x == 0, 1, x)), exponent2.eq(exponent)]
        for bit in range(32):
            with m.If(x[bit]):
                m.d.sync += zeros.eq(31 - bit)
        # Stage 3: x = mantissa * 2**-e.
        mantissa, e, exponent3 = Signal(MANTISSA_BITS, reset_less=True), Signal(signed(EXPONENT_BITS)), Signal.like(exponent)
        m.d.sync += [
            mantissa.eq((x2 << zeros)[32 - MANTISSA_BITS:32]), e.eq(zeros - (32 - MANTISSA_BITS)), exponent3.eq(exponent2),
        ]
        # Stage 4: tables, by the bits below the leading one; the root's by one more, which tells odd exponents from even.
        odd = e[0]
        below = MANTISSA_BITS - 1
        answers = {}
        for name, bits, address, *tables in (
                ("quantise", 32, mantissa[below - QUANTISE_BITS:below], QUANTISE, UNQUANTISE),
                ("reciprocal", 16, mantissa[below - RECIPROCAL_BITS:below], RECIPROCAL),
                ("rsqrt", 16, (mantissa << odd)[MANTISSA_BITS + 1 - RSQRT_BITS:MANTISSA_BITS + 1], RSQRT)):
            init = [sum(int(entry) << 16 * i for i, entry in enumerate(entries)) for entries in zip(*tables, strict=True)]
            m.submodules[name] = table = Memory(shape=bits, depth=len(init), init=init)
            port = table.read_port()
            m.d.comb += [port.addr.eq(address), port.en.eq(1)]
            answers[name] = port.data
        mantissa4, e4, exponent4 = Signal.like(mantissa), Signal.like(e), Signal.like(exponent)
        m.d.sync += [mantissa4.eq(mantissa), e4.eq(e), exponent4.eq(exponent3)]
        # Stage 5: the result; QUANTISE has two.
        result, inverse = Signal(Scalar), Signal(Scalar, reset_less=True)
        done, again = beats[self.LATENCY], beats[self.LATENCY + 1]
        m.d.sync += [inverse.value.eq(answers["quantise"][16:]), inverse.exponent.eq(6 + e4)]
        with m.Switch(done.function):
            with m.Case(Sfu.QUANTISE):
                m.d.comb += [result.value.eq(answers["quantise"][:16]), result.exponent.eq(22 - e4)]
            with m.Case(Sfu.RSQRT):
                m.d.comb += [result.value.eq(answers["rsqrt"]), result.exponent.eq(22 - ((e4 + e4[0]) >> 1))]
            with m.Case(Sfu.RECIPROCAL):
                m.d.comb += [result.value.eq(answers["reciprocal"]), result.exponent.eq(29 - e4)]
            with m.Case(Sfu.MULTIPLY):
                m.d.comb += [result.value.eq(mantissa4), result.exponent.eq(exponent4 + e4)]
        twice = Signal()
        m.d.comb += [
            twice.eq(again.active & (again.function == Sfu.QUANTISE)),
            self.collision.eq(done.active & twice),
            write.en.eq(done.active | twice),
            write_reduced.en.eq(self.write), write_reduced.addr.eq(self.write_address),
            write_reduced.data.value.eq(self.write_value),
        ]
        with m.If(done.active):
            m.d.comb += [write.addr.eq(done.into), write.data.eq(result)]
        with m.Else():
            m.d.comb += [write.addr.eq(again.into + 1), write.data.eq(inverse)]
        return m
