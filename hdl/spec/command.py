"""The commands that the sequencer gives to the slices, and the begin of a run."""

from amaranth import *
from amaranth.lib import data

from .config import Config
from .isa import POSITION_BITS, Op, isa_of
from .protocol import ENTRY_BITS
from .row_encoding import ROWS, row_of

SLICES = (Op.MXM, Op.VXM, Op.SFU)
"""Operations that slices execute which every tile has."""


def begin_layout(config: Config) -> data.StructLayout:
    """Layout of the begin of a run: first instruction, token, its position, and the number of tokens wanted."""
    return data.StructLayout({
        "entry": ENTRY_BITS, "token": config.token_bits, "position": POSITION_BITS, "count": POSITION_BITS})


def slices(config: Config) -> tuple[Op, ...]:
    """The operations that slices of a tile execute."""
    return (*SLICES, Op.MOVE) if config.memory else SLICES


def command_layout(config: Config, op: Op) -> data.StructLayout:
    """Layout of a slice's command port. No flow control.

    `valid` is 1 for one cycle. `operands` hold in that cycle; see `Isa.command`. In a compact tile
    operands arrive row by row: an operand holds in the cycle in which the bit of its row in `rows`
    is 1, and `valid` is 1 in the cycle of the last row.
    """
    rows = {"rows": ROWS} if config.profile.instruction_rows else {}
    return data.StructLayout({"valid": 1} | rows | {"operands": isa_of(config).command(op)})


def arrives(config: Config, op: Op, command: data.View, operand: str) -> Value:
    """1 in the cycle in which an operand of a command holds."""
    return command.rows[row_of(op.name, operand)] if config.profile.instruction_rows else command.valid
