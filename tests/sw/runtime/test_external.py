"""The test pattern that comes before a load: it finds each wire between the tile and its memory that is wrong."""

import re

import pytest
from amaranth import C, Cat, Module
from amaranth.lib import wiring

from marey.hdl.spec.config import Config
from marey.hdl.spec.dram_rules import Command
from marey.hdl.tile import Tile
from marey.sim.pysim import PysimTransport
from marey.sim.sdram import SdramModel
from marey.sim.simulation import quiet_cycles
from marey.sw.runtime.driver import Device
from marey.sw.runtime.external import ExternalMemory, ExternalMemoryError

CONFIG = Config(name="wired", rows=4, cols=4, lanes=4, wram_depth=16, mem_depth=64, program_depth=16, sdram=4)
"""With the small chip: addresses of 8 bits, from burst of the row to row."""


def joined(value, low, high):
    """The value with two of its bits connected to each other: both are 1 if both are driven so."""
    both = value[low] & value[high]
    return Cat(both if bit in (low, high) else value[bit] for bit in range(len(value)))


def stuck(value, at, level):
    """The value with a bit that is always `level`."""
    return Cat(C(level, 1) if bit == at else value[bit] for bit in range(len(value)))


FAULTS = {
    "nothing": {},
    "no chip": {"read": lambda value: C(0xFFFF, 16)},
    "no clock": {"command": lambda value: Command.NOP},
    "no CAS": {"command": lambda value: value & 0b101},
    "no RAS": {"command": lambda value: value & 0b011},
    "no WE": {"command": lambda value: value & 0b110},
    **{f"A{bit} is {level}": {"address": lambda value, bit=bit, level=level: stuck(value, bit, level)}
       for bit in (0, 2, 3, 4) for level in (0, 1)},
    "A0 on A3": {"address": lambda value: joined(value, 0, 3)},
    "BA0 is 1": {"bank": lambda value: stuck(value, 0, 1)},
    "BA0 on BA1": {"bank": lambda value: joined(value, 0, 1)},
    "DQ5 is 0": {"read": lambda value: stuck(value, 5, 0)},
    "DQ5 on DQ6": {"write": lambda value: joined(value, 5, 6)},
    "one cycle late": {"read": None},
}
"""What a wrong wire makes of a pin's value: {pins: function}; of the smallest rows, A0 to A3, and columns, A0 to A4."""


class Wired(wiring.Component):
    """A tile and its chip, with a fault between them."""

    def __init__(self, fault):
        self._fault, self._tile, self._chip = fault, Tile(CONFIG), SdramModel(CONFIG.memory, strict=False)
        super().__init__({name: member for name, member in self._tile.signature.members.items() if name != "sdram"})

    def elaborate(self, platform):
        m = Module()
        m.submodules.tile, m.submodules.chip = tile, chip = self._tile, self._chip
        for name in ("command", "bank", "address", "write", "drive"):
            value, change = getattr(tile.sdram, name), self._fault.get(name, lambda value: value)
            m.d.comb += getattr(chip.pins, name).eq(change(value.as_value() if name == "command" else value))
        if "read" in self._fault and self._fault["read"] is None:
            m.d.sync += tile.sdram.read.eq(chip.pins.read)
        else:
            m.d.comb += tile.sdram.read.eq(self._fault.get("read", lambda value: value)(chip.pins.read))
        wiring.connect(m, wiring.flipped(self.rx), tile.rx)
        wiring.connect(m, wiring.flipped(self.tx), tile.tx)
        m.d.comb += self.probe.eq(tile.probe)
        return m


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_wire_is_found(fault):
    transport = PysimTransport(Wired(FAULTS[fault]), quiet=quiet_cycles(CONFIG))
    with Device(transport, CONFIG) as device:
        memory = ExternalMemory(device.session)
        if not FAULTS[fault]:
            memory.check()
            return
        with pytest.raises(ExternalMemoryError) as caught:
            memory.check()
        assert re.fullmatch(r"external memory: a word of burst \d+ is 0x[0-9a-f]+, and 0x[0-9a-f]+ was written: the chip is "
                            r"absent, miswired, too fast for its clock, or no small", str(caught.value))
