"""An SDRAM chip at a board's pins: registers in the I/O cells, and the chip's clock."""

from amaranth import *
from amaranth.lib import io

from ..hdl.dram import Pins
from ..hdl.spec.dram_parts import Timing

CLOCK_DEGREES = {1: 270, 2: 180}
"""The chip's clock rises so much of its period after the tile's, by its cycles in one of the tile's.

One at 100 MHz, in ns: a command, or a word that is written, is at the pins from 0 to 10, and the chip takes it at 7.5. It
needs it from 6.0 to 8.3. The first word of a READ with CAS latency 2 is at the pins from 23.5 at the latest (6 after the
chip's clock at 17.5) until 30 at the earliest (2.5 after that at 27.5), and the FPGA takes it at 30. The clock and the
words go through I/O cells on their way out and in, which takes some more ns; so there is time on both sides. (Data sheets'
usual figures for these chips; nothing here is measured.) LiteX has 90 degrees at 50 MHz, and 180 with two cycles of the chip
in one of its own (litex_boards/targets/radiona_ulx3s.py)."""
CLOCK_DOMAIN = "chip"
"""The domain of the chip's clock."""


class SdramPins(Elaboratable):
    """Puts registers into the I/O cell of each pin of the SDRAM, and the clock onto its pin.

    Latency: `DramBus.latency(timing)` cycles to the pins, 1 cycle from them: those of `DramBus`, which has no registers on a
    platform with `registers_at_pins`.
    Cost: no cells but those of the pins.

    With a rate of 2 the cells serve both edges of the clock. A command is in the first half of a cycle; the halves of a word
    that is read are in the second half of a cycle and the first of the next (`Timing.cas`), which is what an IDDRX1F gives at
    once: what it took at the rising edge, and at the falling edge after it (the diagram of Amaranth's `io.DDRBuffer`).

    Parameters: `timing`; `resource`, name and number of the Amaranth resource.
    Member: `pins : In(Pins(part))`, what the tile says.
    """

    def __init__(self, timing: Timing, resource: tuple[str, int]):
        self.pins = Pins(timing.part).flip().create()
        self._resource, self._rate = resource, timing.rate

    def elaborate(self, platform):
        m = Module()
        names = [pin.name for pin in platform.resources[self._resource].ios]
        port = platform.request(*self._resource, dir=dict.fromkeys(names, "-"))
        command = self.pins.command.as_value()
        outputs = {"we": command[0], "cas": command[1], "ras": command[2], "ba": self.pins.bank, "a": self.pins.address}
        cell = io.FFBuffer if self._rate == 1 else io.DDRBuffer
        for name, value in outputs.items():
            m.submodules[name] = buffer = cell("o", getattr(port, name))
            # The second half of a cycle has no command.
            second = value if name in ("ba", "a") else C(0)
            m.d.comb += buffer.o.eq(value) if self._rate == 1 else Cat(buffer.o).eq(Cat(value, second))
        m.submodules.dq = dq = cell("io", port.dq)
        m.d.comb += [Cat(dq.o).eq(self.pins.write), dq.oe.eq(self.pins.drive), self.pins.read.eq(Cat(dq.i))]
        m.submodules.clk = clk = io.DDRBuffer("o", port.clk, o_domain=CLOCK_DOMAIN)
        m.d.comb += [clk.o[0].eq(1), clk.o[1].eq(0)]
        for name, level in {"clk_en": 1, "cs": 1, "dqm": 0}.items():
            if name in names:
                m.submodules[name] = buffer = io.Buffer("o", getattr(port, name))
                m.d.comb += buffer.o.eq(level)
        return m
