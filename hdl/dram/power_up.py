"""The commands that an SDRAM needs after power-up."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from ..spec.dram_parts import BURST, Timing
from ..spec.dram_rules import Command

REFRESHES = 8
"""REFRESH commands before the mode register is set; JEDEC asks for two or eight, by the part."""


def mode(timing: Timing) -> int:
    """The mode register: bursts of `BURST` words in ascending order, and the CAS latency."""
    return BURST.bit_length() - 1 | timing.chip_cas << 4


class PowerUp(wiring.Component):
    """Waits for the chip, closes all banks, refreshes eight times, and sets the mode register.

    Latency: `cycles(timing)` from reset to the first cycle in which `done` is 1.
    Cost: a counter that measures the time since power-up.

    Parameters: `timing`.

    Members (no flow control):
        `command : Out(Command)`: a command for all banks, in this cycle
        `done : Out(1)`: there are no more
    """

    @staticmethod
    def cycles(timing: Timing) -> int:
        """Cycles from reset to `done`."""
        return timing.power_up + timing.rp + REFRESHES * timing.rfc + timing.mrd

    def __init__(self, timing: Timing):
        self._timing = timing
        super().__init__({"command": Out(Command), "done": Out(1)})

    def elaborate(self, platform):
        m = Module()
        t = self._timing
        left, number = Signal(range(max(t.power_up, t.rfc, t.rp, t.mrd) + 1), init=t.power_up), Signal(range(REFRESHES + 3))
        # The wait before command `number + 1`, and the command.
        steps = [(Command.PRECHARGE, t.rp), *[(Command.REFRESH, t.rfc)] * REFRESHES, (Command.MODE, t.mrd)]
        m.d.comb += self.done.eq((number == len(steps)) & (left == 0))
        with m.If(left != 0):
            m.d.sync += left.eq(left - 1)
        with m.Switch(number):
            for step, (command, cycles) in enumerate(steps):
                with m.Case(step), m.If(left == 0):
                    m.d.comb += self.command.eq(command)
                    m.d.sync += [left.eq(cycles - 1), number.eq(step + 1)]
        return m
