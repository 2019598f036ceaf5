"""A UART, 8N1: a byte on the line is a start bit, 8 bits from the lowest on, and a stop bit."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from ..spec.errors import MareyError

BITS = 10
"""Bits of a byte on the line."""
WORD_BITS = 4 * BITS
"""Bits of a link word on the line."""


def divisor(clock_hz: float, baud: int) -> int:
    """Clock cycles a bit, for a UART at this rate.

    MareyError if the clock is too slow for the rate, or misses it by more than 2 %: both ends together
    may be off by half a bit in the ten of a byte, and 2 % here leave as much to the other end.
    """
    cycles = round(clock_hz / baud) if baud > 0 else 0
    if cycles < 4 or abs(clock_hz / cycles - baud) > 0.02 * baud:
        raise MareyError(f"a clock of {clock_hz / 1e6:g} MHz cannot make {baud} baud: choose a rate that it is a multiple of, "
                         "4 times at least")
    return cycles


class UartReceiver(wiring.Component):
    """Takes bytes off a serial line, 8N1.

    It looks at each bit once, in its middle, and counts from the falling edge that began the byte.
    A start bit that is gone by its middle was a disturbance. A byte without its stop bit is
    dropped, and the next one begins when the line has been high.

    Latency: `valid` is a pulse 9.5 bits and 3 cycles after the edge.
    Throughput: a byte every 10 bits. No flow control.
    Cost: about 25 flip-flops (derived from its registers).

    Parameters: `divisor`, clock cycles a bit.

    Members:
        `line : In(1)`: high at rest, not synchronised
        `data : Out(8)`, `valid : Out(1)`: a byte
    """

    def __init__(self, divisor: int):
        self._divisor = divisor
        super().__init__({"line": In(1, init=1), "data": Out(8), "valid": Out(1)})

    def elaborate(self, platform):
        m = Module()
        line = Signal(init=1)
        m.submodules.synchroniser = FFSynchronizer(self.line, line, init=1)
        countdown, left = Signal(range(self._divisor)), Signal(range(BITS))
        m.d.sync += self.valid.eq(0)
        with m.FSM():
            with m.State("REST"):
                m.d.sync += [countdown.eq(self._divisor // 2 - 1), left.eq(BITS - 1)]
                with m.If(~line):
                    m.next = "BYTE"
            with m.State("BYTE"):
                m.d.sync += countdown.eq(countdown - 1)
                with m.If(countdown == 0):
                    m.d.sync += [countdown.eq(self._divisor - 1), left.eq(left - 1)]
                    with m.If(left == 0):
                        m.d.sync += self.valid.eq(line)
                        m.next = "BROKEN"
                        with m.If(line):
                            m.next = "REST"
                    with m.Elif(left == BITS - 1):
                        with m.If(line):
                            m.next = "REST"
                    with m.Else():
                        m.d.sync += self.data.eq(Cat(self.data[1:], line))
            with m.State("BROKEN"):
                with m.If(line):
                    m.next = "REST"
        return m


class UartTransmitter(wiring.Component):
    """Puts bytes on a serial line, 8N1.

    Latency: the start bit begins in the cycle after a byte was taken.
    Throughput: a byte every 10 bits and a cycle.
    Cost: about 25 flip-flops (derived from its registers).

    Parameters: `divisor`, clock cycles a bit.

    Members:
        `bytes : In(stream.Signature(8))`: the bytes
        `line : Out(1)`: high at rest
    """

    def __init__(self, divisor: int):
        self._divisor = divisor
        super().__init__({"bytes": In(stream.Signature(8)), "line": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        countdown, left = Signal(range(self._divisor)), Signal(range(BITS + 1))
        waiting = Signal(BITS - 1, init=-1)
        m.d.comb += self.bytes.ready.eq(left == 0)
        with m.If(self.bytes.ready):
            m.d.sync += countdown.eq(self._divisor - 1)
            with m.If(self.bytes.valid):
                m.d.sync += [self.line.eq(0), waiting.eq(Cat(self.bytes.payload, 1)), left.eq(BITS)]
        with m.Else():
            m.d.sync += countdown.eq(countdown - 1)
            with m.If(countdown == 0):
                m.d.sync += [
                    countdown.eq(self._divisor - 1), left.eq(left - 1),
                    self.line.eq(waiting[0]), waiting.eq(Cat(waiting[1:], 1)),
                ]
        return m
