"""The part of the SDRAM model that watches the distances between commands."""

from amaranth import C, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..hdl.spec.dram_parts import Timing
from ..hdl.spec.dram_rules import GAPS, Command


class GapWatch(wiring.Component):
    """Holds commands to `GAPS`, the least distances between them, in the cycle in which they come.

    For each rule and each bank it counts the cycles since the last of the earlier commands.

    Parameters: `timing`.

    Members (no flow control):
        `command : In(Command)`, `bank : In`: a command and its bank
        `every : In(1)`: it is for all banks
        `closed : In(1)` for each bank: no row is open in it
        `broken : Out(len(GAPS))`: the rules that it breaks
    """

    def __init__(self, timing: Timing):
        self._timing = timing
        banks = timing.part.banks
        super().__init__({"command": In(Command), "bank": In(range(banks)), "every": In(1), "closed": In(1).array(banks),
                          "broken": Out(len(GAPS))})

    def elaborate(self, platform):
        m = Module()
        for number, gap in enumerate(GAPS):
            most = gap.cycles(self._timing)
            then = _one_of(self.command, gap.then)
            found = []
            for bank, closed in enumerate(self.closed):
                since = Signal(range(most + 1), name=f"since{number}_{bank}", init=most)
                mine = self.every | (self.bank == bank)
                # A bank that is closed already is not precharged anew.
                happens = _one_of(self.command, gap.first) & mine & ~((self.command == Command.PRECHARGE) & closed)
                m.d.sync += since.eq(Mux(happens, 1, since + (since != most)))
                concerned = {"same": mine, "other": self.bank != bank, "any": C(1)}[gap.banks]
                found.append(then & concerned & (since < most))
            m.d.comb += self.broken[number].eq(Cat(found).any())
        return m


def _one_of(command, commands):
    return Cat(command == one for one in sorted(commands, key=lambda one: one.value)).any()
