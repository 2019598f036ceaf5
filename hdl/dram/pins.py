"""The pins of an SDRAM."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..spec.config import address_bits
from ..spec.dram_parts import BURST, Part
from ..spec.dram_rules import Command

ALL_BANKS_BIT = 10
"""The address bit that says in a PRECHARGE that all banks are meant."""


def Pins(part: Part) -> wiring.Signature:
    """What the tile tells an SDRAM in a cycle, and what it answers. CKE and CS are always active.

    Members:
        `command : Out(Command)`: RAS, CAS and WE, active high
        `bank : Out`, `address : Out`: for ACTIVATE the row, for READ and WRITE the column; bit
            `ALL_BANKS_BIT` of PRECHARGE: all banks
        `write : Out(bus_bits)`, `drive : Out(1)`: the data bus, and whether the tile drives it
        `read : In(bus_bits)`: the data bus
    """
    return wiring.Signature({
        "command": Out(Command), "bank": Out(address_bits(part.banks)), "address": Out(address_width(part)),
        "write": Out(part.bus_bits), "drive": Out(1), "read": In(part.bus_bits),
    })


def address_width(part: Part) -> int:
    """Address pins."""
    return max(ALL_BANKS_BIT + 1, address_bits(part.rows), address_bits(part.columns))


def burst_bits(part: Part) -> tuple[int, int, int]:
    """Widths of the fields of a burst's address, lowest first: burst of the row, bank, row."""
    return (part.columns // BURST - 1).bit_length(), address_bits(part.banks), address_bits(part.rows)
