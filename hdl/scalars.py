"""The scalar registers, and the unit that computes with them."""

from itertools import pairwise

import numpy as np
from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .config import Config, address_bits
from .integer import MANTISSA_BITS, QUANTISE, QUANTISE_BITS, RECIPROCAL, RECIPROCAL_BITS, RSQRT, RSQRT_BITS, UNQUANTISE
from .isa import Isa, Op, Sfu, isa_of
from .multiply import multiply
from .repeat import Repeat
from .sequencer import command_layout

EXPONENT_BITS = 8
Scalar = data.StructLayout({"value": signed(32), "exponent": signed(EXPONENT_BITS)})
"""Worth value * 2**-exponent. What multiplies a vector has a value of at most 16 bits."""
Computed = data.StructLayout({"value": 16, "exponent": signed(EXPONENT_BITS)})
"""A scalar of the upper half: a mantissa, and never negative. Those of the lower half are whole numbers: exponent 0."""
TABLES = np.concatenate([QUANTISE, UNQUANTISE, RECIPROCAL, RSQRT])
"""One memory for all tables; each begins at a multiple of its size."""


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
        half = self._config.scalars // 2
        m.submodules.reduced = reduced = Memory(shape=signed(32), depth=half, init=[1])
        m.submodules.computed = computed = Memory(shape=Computed, depth=half, init=[])
        write_reduced, write = reduced.write_port(), computed.write_port()

        def read(address):
            """Either bank's register, a cycle later."""
            ports, upper = [bank.read_port() for bank in (reduced, computed)], Signal()
            m.d.comb += [port.addr.eq(address) for port in ports] + [port.en.eq(1) for port in ports]
            m.d.sync += upper.eq(address[-1])
            found = Signal(Scalar)
            m.d.comb += [
                found.value.eq(Mux(upper, ports[1].data.value, ports[0].data)),
                found.exponent.eq(Mux(upper, ports[1].data.exponent, 0)),
            ]
            return found

        m.submodules.repeat = repeat = Repeat(isa_of(self._config).count_bits)
        m.d.comb += [
            repeat.load.eq(self.command.valid), repeat.start.eq(self.command.valid),
            repeat.inner.eq(1), repeat.middle.eq(1), repeat.outer.eq(start.count),
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

        # Stage 1: one number, as a sum of two, and what its exponent is so far.
        first, second = read(a), read(b)
        one, other = Signal(32, reset_less=True), Signal(32, reset_less=True)
        exponents = [Signal(signed(EXPONENT_BITS), name=f"exponent{stage}", reset_less=True) for stage in range(1, 5)]
        m.d.sync += [later.eq(earlier) for earlier, later in pairwise(exponents)]
        m.d.sync += [one.eq(first.value), other.eq(0), exponents[0].eq(0)]
        with m.Switch(beats[1].function):
            with m.Case(Sfu.RSQRT):
                m.d.sync += other.eq(epsilon)
            with m.Case(Sfu.MULTIPLY):
                m.d.sync += [
                    one.eq(multiply(first.value[:16], second.value[:8])),
                    other.eq(multiply(first.value[:16], second.value[8:16]) << 8),
                    exponents[0].eq(first.exponent + second.exponent),
                ]
        # Stages 2 and 3: mantissa * 2**-e. Are its first 16 bits zeros, the first 8 of what is left, and so on?
        # 0 counts as 1: the mantissa's highest bit is 1 without a look.
        x = Signal(32)
        m.d.comb += x.eq(one + other)
        headed, head = _without_zeros(x, (16,))
        rest, zeros = Signal.like(headed, reset_less=True), Signal.like(head, reset_less=True)
        normal, more = _without_zeros(rest, (8, 4, 2, 1))
        mantissa, e = Signal(MANTISSA_BITS, reset_less=True), Signal(signed(EXPONENT_BITS))
        m.d.sync += [
            rest.eq(headed), zeros.eq(head),
            mantissa.eq(Cat(normal[:-1], 1)), e.eq(Cat(more, zeros) - (32 - MANTISSA_BITS)),
        ]
        # Stage 4: tables, by the bits below the leading one; the root's by one more, which tells odd exponents from even.
        m.submodules.tables = tables = Memory(shape=16, depth=1 << (len(TABLES) - 1).bit_length(), init=TABLES.tolist())
        port, below = tables.read_port(), MANTISSA_BITS - 1
        mantissa4, e4, e5 = Signal.like(mantissa), Signal.like(e), Signal.like(e)
        m.d.sync += [mantissa4.eq(mantissa), e4.eq(e), e5.eq(e4)]
        done, again, twice = beats[self.LATENCY], beats[self.LATENCY + 1], Signal()
        quantise = mantissa[below - QUANTISE_BITS:below]
        with m.If(done.active & (done.function == Sfu.QUANTISE)):
            m.d.comb += port.addr.eq(Cat(mantissa4[below - QUANTISE_BITS:below], 1))
        with m.Else():
            with m.Switch(beats[self.LATENCY - 1].function):
                with m.Case(Sfu.QUANTISE):
                    m.d.comb += port.addr.eq(quantise)
                with m.Case(Sfu.RECIPROCAL):
                    m.d.comb += port.addr.eq(Cat(mantissa[below - RECIPROCAL_BITS:below], 1))
                with m.Case(Sfu.RSQRT):
                    m.d.comb += port.addr.eq(Cat((mantissa << e[0])[MANTISSA_BITS + 1 - RSQRT_BITS:MANTISSA_BITS + 1], 1))
        # Stage 5: the result; QUANTISE has two.
        result = Signal(Computed)
        m.d.comb += [port.en.eq(1), result.value.eq(port.data)]
        with m.If(twice):
            m.d.comb += result.exponent.eq(6 + e5)
        with m.Else():
            with m.Switch(done.function):
                with m.Case(Sfu.QUANTISE):
                    m.d.comb += result.exponent.eq(22 - e4)
                with m.Case(Sfu.RSQRT):
                    m.d.comb += result.exponent.eq(22 - ((e4 + e4[0]) >> 1))
                with m.Case(Sfu.RECIPROCAL):
                    m.d.comb += result.exponent.eq(29 - e4)
                with m.Case(Sfu.MULTIPLY):
                    m.d.comb += [result.value.eq(mantissa4), result.exponent.eq(exponents[3] + e4)]
        m.d.comb += [
            twice.eq(again.active & (again.function == Sfu.QUANTISE)),
            self.collision.eq(done.active & twice),
            write.en.eq(done.active | twice), write.addr.eq(Mux(twice, again.into + 1, done.into)), write.data.eq(result),
            write_reduced.en.eq(self.write), write_reduced.addr.eq(self.write_address),
            write_reduced.data.eq(self.write_value),
        ]
        return m


def _without_zeros(value, counts):
    """A value without so many zeros at its head where it has them, cut to what a mantissa needs; and, last first, which."""
    found = []
    for count in counts:
        zeros = ~value[-count:].any()
        value = Mux(zeros, value << count, value)[:len(value)][-(MANTISSA_BITS + count - 1):]
        found.insert(0, zeros)
    return value, Cat(found)
