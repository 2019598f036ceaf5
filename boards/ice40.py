"""What an iCE40 UP has as cells of its own, in the place of the tile's device parts."""

from amaranth import *

from ..hdl.spram import SinglePortRam
from ..hdl.verilog import Rams

SPRAM_BITS, SPRAM_DEPTH, SPRAM_GRAIN = 16, 16384, 4
"""Of an SB_SPRAM256KA: bits of a word, words, bits of the parts of a word that it can write."""


class Ice40UpParts(Rams):
    """Mixed into the platform of a board with an iCE40 UP."""

    def get_single_port_ram(self, ram: SinglePortRam) -> Elaboratable | None:
        """SB_SPRAM256KAs side by side; None where the memory is deeper than they are, or finer."""
        if ram.depth > SPRAM_DEPTH or ram.grain % SPRAM_GRAIN:
            return None
        m = Module()
        for index, start in enumerate(range(0, ram.width, SPRAM_BITS)):
            word = slice(start, start + SPRAM_BITS)
            mask = [ram.write[bit // ram.grain] for bit in range(ram.width)[word][::SPRAM_GRAIN]]
            m.submodules[f"cell{index}"] = Instance(
                "SB_SPRAM256KA", i_CLOCK=ClockSignal(), i_CHIPSELECT=1, i_STANDBY=0, i_SLEEP=0, i_POWEROFF=1,
                i_ADDRESS=ram.address | C(0, 14), i_WREN=ram.write.any(), i_MASKWREN=Cat(mask) | C(0, 4),
                i_DATAIN=ram.write_data[word] | C(0, 16), o_DATAOUT=Cat(ram.data[word], Signal(16 - len(ram.data[word]))))
        return m
