"""What slices say to each other: layouts of ports between them, and how late an answer comes.

No slice imports another. A slice that reads MEM knows its port from here, and the slice that answers keeps to it.
"""

from amaranth.hdl import signed
from amaranth.lib import data

from .config import Config, address_bits
from .isa import Op, To, isa_of

TOP = "marey_tile"
"""Name of the top module in Verilog."""

MEM_READ_LATENCY = 1
"""Cycles from an address at a read port of MEM to the values."""

SCALAR_BITS, EXPONENT_BITS = 16, 8
"""Widths of a scalar's value and of its exponent."""
Scalar = data.StructLayout({"value": signed(SCALAR_BITS), "exponent": signed(EXPONENT_BITS)})
"""A scalar register as the VXM reads it: worth value * 2**-exponent."""


def WramFill(config: Config) -> data.StructLayout:
    """An entry of W-RAM that comes from external memory.

    Fields: `enable`, there is one; `entry`, its number, which counts through all columns of a word and then through the
    words; `data`, `rows` weights.
    """
    return data.StructLayout({
        "enable": 1, "entry": address_bits(config.wram_depth * config.cols), "data": config.rows * config.weight_bits})


def VxmWrite(config: Config) -> data.StructLayout:
    """A granule that leaves the VXM.

    Fields: `to`, where it goes (NOWHERE: there is none); `address`, the address there; `values`, `lanes` signed
    values of 16 bits; where halves of 8 bits are written apart, `high`: the cache takes the high ones.
    """
    high = {"high": 1} if config.wide_beats > 1 else {}
    return data.StructLayout({
        "to": To, "address": isa_of(config).command(Op.VXM)["dst"].shape,
        "values": data.ArrayLayout(signed(16), config.lanes),
    } | high)
