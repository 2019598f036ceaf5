"""iCE40 UltraPlus cells that replace parts of the tile: multipliers and single-port RAMs."""

from amaranth import *

from ..hdl.parts.dot import DotProduct
from ..hdl.parts.product import Product
from ..hdl.parts.spram import SinglePortRam
from ..hdl.verilog import Rams

SPRAM_BITS, SPRAM_DEPTH, SPRAM_GRAIN = 16, 16384, 4
"""An SB_SPRAM256KA's bits of a word, its words, and the bits of the smallest part of a word that it
can write."""

_OFF = ("AHOLD", "BHOLD", "CHOLD", "DHOLD", "IRSTTOP", "IRSTBOT", "ORSTTOP", "ORSTBOT", "OLOADTOP", "OLOADBOT",
        "ADDSUBTOP", "ADDSUBBOT", "OHOLDTOP", "OHOLDBOT", "CI", "ACCUMCI", "SIGNEXTIN")
"""Inputs of an SB_MAC16 that are held at 0."""

MULTIPLIERS = 6
"""SB_MAC16s that dot products may use, of the 8 of a UP5K: the VXM's lane uses the other two."""


def mac16(a: Value, b: Value, output: Value, *, c: Value = C(0, 16), d: Value = C(0, 16), **parameters: int) -> Instance:
    """An SB_MAC16 (Lattice FPGA-TN-02007): operands of 16 bits, output of 32 bits.

    Parameters that are not given are 0.
    """
    return Instance("SB_MAC16", i_CLK=ClockSignal(), i_CE=1, i_A=a, i_B=b, i_C=c, i_D=d, o_O=output,
                    **{f"p_{name}": value for name, value in parameters.items()}, **{f"i_{name}": 0 for name in _OFF})


class Ice40UpParts(Rams):
    """The platform hooks for an iCE40 UltraPlus; `marey.boards.board.Board.with_parts` joins them
    to a board's platform.

    There are fewer SB_MAC16s than the MXM could use: the columns that are elaborated first get
    them, and the others multiply in LUTs.
    """

    multipliers_left = MULTIPLIERS
    """SB_MAC16s that no dot product of this platform's design uses yet."""

    def get_dot_product(self, dot: DotProduct) -> Elaboratable | None:
        """A chain of SB_MAC16s, each of which multiplies two pairs of 8 bits and adds the sum of
        the one before it.

        Inputs, products and outputs are registered. Adders in LUTs if too few SB_MAC16s are left;
        None if the sum is wider than the cells' adders, 16 bits, has more registers, or the number of products is odd.
        """
        cells = dot.count // 2
        if dot.count % 2 or len(dot.sum) > 16 or dot.stages > 1:
            return None
        if cells > self.multipliers_left:
            return dot.by_adders()
        self.multipliers_left -= cells
        m, sum_so_far = Module(), None
        for index in range(cells):
            last = index == cells - 1
            low, high = Signal(16, name=f"low{index}"), Signal(16, name=f"high{index}")
            a, b = (Cat((word[2 * index + half] + C(0, signed(8)))[:8] for half in range(2)) for word in (dot.a, dot.b))
            # Lower half: a product, plus the sum of the cells before. Upper half: the other product, plus the lower half.
            m.submodules[f"cell{index}"] = mac16(
                a, b, Cat(low, high), c=low, d=C(0, 16) if index == 0 else sum_so_far,
                MODE_8x8=1, A_SIGNED=1, B_SIGNED=1, A_REG=1, B_REG=1, TOP_8x8_MULT_REG=1, BOT_8x8_MULT_REG=1,
                BOTOUTPUT_SELECT=2 if index == 0 else 0, BOTADDSUB_LOWERINPUT=1, BOTADDSUB_UPPERINPUT=1,
                TOPOUTPUT_SELECT=1 if last else 0, TOPADDSUB_LOWERINPUT=1, TOPADDSUB_UPPERINPUT=1)
            sum_so_far = high
        m.d.comb += dot.sum.eq(sum_so_far)
        return m

    def get_product(self, product: Product) -> Elaboratable:
        """Two SB_MAC16s, for the low and the high bits of `a`.

        A registered product has its registers before the last addition.
        """
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
        """SB_SPRAM256KAs side by side.

        None if the memory has more words, or writes smaller parts of a word, than they can.
        """
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
