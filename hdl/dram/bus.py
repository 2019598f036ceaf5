"""The registers at the SDRAM's pins."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..spec.dram_parts import Timing
from ..spec.dram_rules import Command
from .pins import Pins, address_width


class DramBus(wiring.Component):
    """Puts a register between the engine and each pin, and says when a word that was read has come.

    Latency: 1 cycle to the pins; 1 cycle from them; `arrived` follows `reads` by the CAS latency and both.
    Throughput: a word a cycle.
    Cost: a register for each pin. A platform with `registers_at_pins` has these registers in its I/O cells, and
    elaborates a component without them, which is 1 cycle earlier at each pin.

    Parameters: `timing`.

    Members (no flow control):
        `command : In(Command)`, `bank : In`, `address : In`: for the pins
        `reads : In(1)`: a word's place in a burst that is read; the READ is in the cycle of the first word's
        `drives : In(1)`, `word : In(bus_bits)`: a word is written
        `arrived : Out(1)`, `data : Out(bus_bits)`: a word that was read
        `pins : Out(Pins(part))`: the chip
    """

    LATENCY = 1

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
        coming = Signal(self._timing.cas + self.LATENCY)
        at_pins = m.d.comb if getattr(platform, "registers_at_pins", False) else m.d.sync
        at_pins += [
            self.pins.command.eq(self.command), self.pins.bank.eq(self.bank), self.pins.address.eq(self.address),
            self.pins.drive.eq(self.drives), self.pins.write.eq(self.word), self.data.eq(self.pins.read),
        ]
        m.d.sync += [coming.eq(Cat(self.reads, coming)), self.arrived.eq(coming[-1])]
        return m
