"""An SDRAM chip at a board's pins: registers in the I/O cells, and the chip's clock."""

from amaranth import *
from amaranth.lib import io

from ..hdl.dram import Pins
from ..hdl.spec.dram_parts import Part

CLOCK_DEGREES = 270
"""The chip's clock rises so much of a period after the tile's.

At 100 MHz, in ns: a command, or a word that is written, is at the pins from 0 to 10, and the chip takes it at 7.5. It
needs it from 6.0 to 8.3. The first word of a READ with CAS latency 2 is at the pins from 23.5 at the latest (6 after the
chip's clock at 17.5) until 30 at the earliest (2.5 after that at 27.5), and the FPGA takes it at 30. The clock and the
words go through I/O cells on their way out and in, which takes some more ns; so there is time on both sides. (Data sheets'
usual figures for these chips; nothing here is measured.) LiteX has 90 degrees at 50 MHz
(litex_boards/targets/radiona_ulx3s.py)."""
CLOCK_DOMAIN = "chip"
"""The domain of the chip's clock."""


class SdramPins(Elaboratable):
    """Puts a register into the I/O cell of each pin of the SDRAM, and the clock onto its pin.

    Latency: 1 cycle to the pins, 1 cycle from them: those of `DramBus`, which has no registers on a platform with
    `registers_at_pins`.
    Cost: no cells but those of the pins.

    Parameters: `part`; `resource`, name and number of the Amaranth resource.
    Member: `pins : In(Pins(part))`, what the tile says.
    """

    def __init__(self, part: Part, resource: tuple[str, int]):
        self.pins = Pins(part).flip().create()
        self._resource = resource

    def elaborate(self, platform):
        m = Module()
        names = [pin.name for pin in platform.resources[self._resource].ios]
        port = platform.request(*self._resource, dir=dict.fromkeys(names, "-"))
        command = self.pins.command.as_value()
        outputs = {"we": command[0], "cas": command[1], "ras": command[2], "ba": self.pins.bank, "a": self.pins.address}
        for name, value in outputs.items():
            m.submodules[name] = buffer = io.FFBuffer("o", getattr(port, name))
            m.d.comb += buffer.o.eq(value)
        m.submodules.dq = dq = io.FFBuffer("io", port.dq)
        m.d.comb += [dq.o.eq(self.pins.write), dq.oe.eq(self.pins.drive), self.pins.read.eq(dq.i)]
        m.submodules.clk = clk = io.DDRBuffer("o", port.clk, o_domain=CLOCK_DOMAIN)
        m.d.comb += [clk.o[0].eq(1), clk.o[1].eq(0)]
        for name, level in {"clk_en": 1, "cs": 1, "dqm": 0}.items():
            if name in names:
                m.submodules[name] = buffer = io.Buffer("o", getattr(port, name))
                m.d.comb += buffer.o.eq(level)
        return m
