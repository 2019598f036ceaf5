"""The registers at the SDRAM's pins."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..spec.dram_parts import Timing
from ..spec.dram_rules import Command
from .pins import Pins, address_width


class DramBus(wiring.Component):
    """Puts registers between the engine and each pin, and says when a word that was read has come.

    Latency: `latency(timing)` cycles to the pins; 1 cycle from them; `arrived` follows `reads` by the CAS latency and both.
    Throughput: a word a cycle.
    Cost: the registers. A platform with `registers_at_pins` has them in its I/O cells, and elaborates a component without
    them, which is so much earlier at each pin.

    Parameters: `timing`.

    Members (no flow control):
        `command : In(Command)`, `bank : In`, `address : In`: for the pins
        `reads : In(1)`: a word's place in a burst that is read; the READ is in the cycle of the first word's
        `drives : In(1)`, `word : In(bus_bits)`: a word is written
        `arrived : Out(1)`, `data : Out(bus_bits)`: a word that was read
        `pins : Out(Pins(part))`: the chip
    """

    @staticmethod
    def latency(timing: Timing) -> int:
        """Cycles to the pins. An ECP5's I/O cell for two words in a cycle, ODDRX1F, has two registers more
        (https://github.com/amaranth-lang/amaranth/pull/1668)."""
        return 1 if timing.rate == 1 else 3

    def __init__(self, timing: Timing):
        self._timing = timing
        part = timing.part
        super().__init__({
            "command": In(Command), "bank": In((part.banks - 1).bit_length()), "address": In(address_width(part)),
            "reads": In(1), "drives": In(1), "word": In(part.bus_bits),
            "arrived": Out(1), "data": Out(part.bus_bits), "pins": Out(Pins(part)),
        })

    def elaborate(self, platform):
        m = Module()
        latency, beside = self.latency(self._timing), getattr(platform, "registers_at_pins", False)
        coming, from_pins = Signal(self._timing.cas + latency), m.d.comb if beside else m.d.sync
        for name, value in {"command": self.command, "bank": self.bank, "address": self.address, "drive": self.drives,
                            "write": self.word}.items():
            for stage in range(0 if beside else latency):
                later = Signal.like(value, name=f"{name}{stage}")
                m.d.sync += later.eq(value)
                value = later
            m.d.comb += getattr(self.pins, name).eq(value)
        from_pins += self.data.eq(self.pins.read)
        m.d.sync += [coming.eq(Cat(self.reads, coming)), self.arrived.eq(coming[-1])]
        return m
