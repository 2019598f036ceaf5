"""What an iCE40 UP has as cells of its own, in the place of the tile's device parts."""

from amaranth import *

from ..hdl.parts.dot import DotProduct
from ..hdl.parts.product import Product
from ..hdl.parts.spram import SinglePortRam
from ..hdl.verilog import Rams

SPRAM_BITS, SPRAM_DEPTH, SPRAM_GRAIN = 16, 16384, 4
"""Of an SB_SPRAM256KA: bits of a word, words, bits of the parts of a word that it can write."""
_OFF = ("AHOLD", "BHOLD", "CHOLD", "DHOLD", "IRSTTOP", "IRSTBOT", "ORSTTOP", "ORSTBOT", "OLOADTOP", "OLOADBOT",
              "ADDSUBTOP", "ADDSUBBOT", "OHOLDTOP", "OHOLDBOT", "CI", "ACCUMCI", "SIGNEXTIN")
MULTIPLIERS = 6
"""SB_MAC16s for dot products; two more are a lane's of the VXM."""


def mac16(a: Value, b: Value, output: Value, *, c: Value = C(0, 16), d: Value = C(0, 16), **parameters: int) -> Instance:
    """An SB_MAC16 (Lattice FPGA-TN-02007): operands of 16 bits, output of 32; parameters that are not given are 0."""
    return Instance("SB_MAC16", i_CLK=ClockSignal(), i_CE=1, i_A=a, i_B=b, i_C=c, i_D=d, o_O=output,
                    **{f"p_{name}": value for name, value in parameters.items()}, **{f"i_{name}": 0 for name in _OFF})


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
            return dot.by_adders()
        self.multipliers_left -= cells
        m, sum_so_far = Module(), None
        for index in range(cells):
            last = index == cells - 1
            low, high = Signal(16, name=f"low{index}"), Signal(16, name=f"high{index}")
            a, b = (Cat((word[2 * index + half] + C(0, signed(8)))[:8] for half in range(2)) for word in (dot.a, dot.b))
            # Below: the product, with the sum of the cells before; above: the other product, with what is below.
            m.submodules[f"cell{index}"] = mac16(
                a, b, Cat(low, high), c=low, d=C(0, 16) if index == 0 else sum_so_far,
                MODE_8x8=1, A_SIGNED=1, B_SIGNED=1, A_REG=1, B_REG=1, TOP_8x8_MULT_REG=1, BOT_8x8_MULT_REG=1,
                BOTOUTPUT_SELECT=2 if index == 0 else 0, BOTADDSUB_LOWERINPUT=1, BOTADDSUB_UPPERINPUT=1,
                TOPOUTPUT_SELECT=1 if last else 0, TOPADDSUB_LOWERINPUT=1, TOPADDSUB_UPPERINPUT=1)
            sum_so_far = high
        m.d.comb += dot.sum.eq(sum_so_far)
        return m

    def get_product(self, product: Product) -> Elaboratable:
        """Two SB_MAC16s, of which the second adds what the first has above 16 bits; or registers come first."""
        m = Module()
        low, high = Signal(32), Signal(32)
        m.submodules.low = mac16(product.a[:16], product.b, low, B_SIGNED=1, TOPOUTPUT_SELECT=3, BOTOUTPUT_SELECT=3)
        above = low[16:].as_signed() if not product.registered else C(0)
        m.submodules.high = mac16(
            (product.a[16:].as_signed() + C(0, signed(16)))[:16], product.b, high, c=above[-1].replicate(16), d=above,
            A_SIGNED=1, B_SIGNED=1, TOPADDSUB_LOWERINPUT=2, TOPADDSUB_UPPERINPUT=1, TOPADDSUB_CARRYSELECT=3,
            BOTADDSUB_LOWERINPUT=2, BOTADDSUB_UPPERINPUT=1)
        if product.registered:
            kept_low, kept_high = Signal(32), Signal(signed(32))
            m.d.sync += [kept_low.eq(low), kept_high.eq(high)]
            m.d.comb += product.y.eq((kept_high << 16) + kept_low.as_signed())
        else:
            m.d.comb += product.y.eq(Cat(low[:16], high))
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
