"""What the slices are told, and what a run begins with."""

from amaranth import *
from amaranth.lib import data

from .config import Config
from .encoding import ROWS, row_of
from .isa import POSITION_BITS, TOKEN_BITS, Op, isa_of
from .protocol import ENTRY_BITS

Begin = data.StructLayout({"entry": ENTRY_BITS, "token": TOKEN_BITS, "position": POSITION_BITS, "count": POSITION_BITS})
"""What a run begins with: the first instruction, the token and its position, and how many tokens are wanted."""

SLICES = (Op.MXM, Op.VXM, Op.SFU)
"""Operations that slices do."""


def command_layout(config: Config, op: Op) -> data.StructLayout:
    """A slice's command port: what to do, `valid` for one cycle. No flow control. In a compact tile operands come one after
    another, each in the cycle in which its row's bit of `rows` is 1, and `valid` with the last of them."""
    rows = {"rows": ROWS} if config.compact else {}
    return data.StructLayout({"valid": 1} | rows | {"operands": isa_of(config).command(op)})


def comes(config: Config, op: Op, command: data.View, operand: str) -> Value:
    """Whether an operand of a command is there in this cycle."""
    return command.rows[row_of(op.name, operand)] if config.compact else command.valid
