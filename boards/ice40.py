"""What an iCE40 UP has as cells of its own, in the place of the tile's device parts."""

from amaranth import *

from ..hdl.dot import DotProduct
from ..hdl.multiply import multiply_signed
from ..hdl.spram import SinglePortRam
from ..hdl.verilog import Rams

SPRAM_BITS, SPRAM_DEPTH, SPRAM_GRAIN = 16, 16384, 4
"""Of an SB_SPRAM256KA: bits of a word, words, bits of the parts of a word that it can write."""
_MAC16_OFF = ("AHOLD", "BHOLD", "CHOLD", "DHOLD", "IRSTTOP", "IRSTBOT", "ORSTTOP", "ORSTBOT", "OLOADTOP", "OLOADBOT",
              "ADDSUBTOP", "ADDSUBBOT", "OHOLDTOP", "OHOLDBOT", "CI", "ACCUMCI", "SIGNEXTIN")
MULTIPLIERS = 6
"""SB_MAC16s for dot products; two more are the VXM's."""


class Ice40UpParts(Rams):
    """Mixed into the platform of a board with an iCE40 UP.

    Of the MXM's columns those that come first have their multipliers in SB_MAC16s, the others in look-up tables.
    """

    multipliers_left = MULTIPLIERS

    def get_dot_product(self, dot: DotProduct) -> Elaboratable | None:
        """SB_MAC16s, each two 8x8 multipliers, with registers before, within and behind, that add up from one to the next;
        None where their adders, of 16 bits, are too narrow."""
        cells = dot.count // 2
        if dot.count % 2 or len(dot.sum) > 16:
            return None
        if cells > self.multipliers_left:
            return dot.arithmetic(multiply_signed)
        self.multipliers_left -= cells
        m, sum_so_far = Module(), None
        for index in range(cells):
            last = index == cells - 1
            low, high = Signal(16, name=f"low{index}"), Signal(16, name=f"high{index}")
            a, b = (Cat((word[2 * index + half] + C(0, signed(8)))[:8] for half in range(2)) for word in (dot.a, dot.b))
            m.submodules[f"cell{index}"] = Instance(
                "SB_MAC16", p_MODE_8x8=1, p_A_SIGNED=1, p_B_SIGNED=1, p_A_REG=1, p_B_REG=1, p_TOP_8x8_MULT_REG=1,
                p_BOT_8x8_MULT_REG=1,
                # Below: the product, with the sum of the cells before; above: the other product, with what is below.
                p_BOTOUTPUT_SELECT=2 if index == 0 else 0, p_BOTADDSUB_LOWERINPUT=1, p_BOTADDSUB_UPPERINPUT=1,
                p_TOPOUTPUT_SELECT=1 if last else 0, p_TOPADDSUB_LOWERINPUT=1, p_TOPADDSUB_UPPERINPUT=1,
                i_CLK=ClockSignal(), i_CE=1, i_A=a, i_B=b, i_C=low, i_D=0 if index == 0 else sum_so_far, o_O=Cat(low, high),
                **{f"i_{name}": 0 for name in _MAC16_OFF})
            sum_so_far = high
        m.d.comb += dot.sum.eq(sum_so_far)
        return m

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
