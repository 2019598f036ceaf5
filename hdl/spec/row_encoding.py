"""How the instructions of a compact tile lie in its program memory: in rows of 24 bits, which come one a cycle.

======= ======= ============== =================================================
bits    15:0    19:16          23:20
======= ======= ============== =================================================
first   wait    operation      address register of the next row's value
others  a value other operands the same; in the last 0, or other operands
======= ======= ============== =================================================

Other operands also lie where the value has no bits.

A row is a link word. So an operand with an address register is resolved when its row comes, all by the same adder, and nowhere
is an instruction there as a whole.
"""

from amaranth.lib import data

ROWS, ROW_BITS, VALUE_BITS = 8, 24, 16
"""Most rows of an instruction, and the widths of a row and a value."""
LINK_BITS = 32
OPERATION, NEXT = 16, 20
"""Places in a row: of the operation in the first, of the next row's register."""

PLACES: dict[str, dict[str, tuple[int, int]]] = {
    "HALT": {"if_prompt": (0, 14)},
    "NOP": {"register": (0, NEXT)},
    "SET": {"value": (1, 0), "register": (1, 16)},
    "ADD": {"value": (1, 0), "register": (1, 16)},
    "INDEX": {"bits": (1, 0), "source": (1, 4), "times": (2, 0), "right": (2, 12), "value": (3, 0), "register": (3, 16)},
    "PERIOD": {"value": (1, 0)},
    "LOOP": {"target": (1, 0), "count": (1, 12)},
    "TOKEN": {"target": (1, 0)},
    "MXM": {
        "act": (1, 0), "fetch": (1, 16), "paced": (1, 17), "wide": (1, 18), "wgt": (2, 0), "inner": (3, 0), "act_hop": (3, 10),
        "middle": (4, 0), "outer": (4, 10), "wgt_step": (5, 0), "wrap": (5, 16), "wgt_hop": (6, 0),
    },
    "VXM": {
        "x": (1, 0), "outer": (1, 12), "x_step": (1, 18), "y_step": (1, 19), "y": (2, 0), "scalar": (2, 12),
        "scalar_hop": (2, 18), "pair": (2, 19), "middle": (3, 0), "x_hop": (3, 10), "interval": (4, 0), "y_hop": (4, 10),
        "dst": (5, 0), "stream": (5, 16), "by_vector": (5, 17), "plus": (5, 18), "bare": (5, 19), "inner": (6, 0),
        "dst_hop": (6, 10), "paced": (6, 21), "function": (6, 22), "shift": (7, 0), "narrow": (7, 7), "to": (7, 8),
        "mask": (7, 10), "reduce": (7, 11), "into": (7, 14), "high": (7, 19),
    },
    "SFU": {"a": (1, 0), "b": (1, 6), "into": (1, 12), "function": (1, 18), "epsilon": (2, 0), "count": (3, 0)},
}
"""By operation and operand: its row, and its lowest bit there. The register of an address is in the row before."""
WAIT = {"NOP": (1, 0)}
"""Where the wait is not in the first row: to a NOP's a register is added."""
COPIES = {"ADD": {"register": ((0, NEXT),)}, "INDEX": {"register": ((2, 16), (2, NEXT))}}
"""Operands that are there more than once: what is written is read before."""


def bit(row: int, at: int) -> int:
    """The bit of an instruction that is a row's."""
    return row * LINK_BITS + at


def in_rows(op: str, operands: data.StructLayout) -> data.FlexibleLayout:
    """The layout of an operation's operands, of these shapes, in rows."""
    fields = {}
    for name, member in operands:
        row, at = PLACES[op][name]
        if isinstance(member.shape, data.Layout):
            # From the register in the row before to the end of the value.
            low = bit(row, at) - bit(row - 1, NEXT)
            offset, base = (member.shape[part].shape for part in ("offset", "base"))
            shape = data.FlexibleLayout(low + offset, {"offset": data.Field(offset, low), "base": data.Field(base, 0)})
            fields[name] = data.Field(shape, bit(row - 1, NEXT))
        else:
            fields[name] = data.Field(member.shape, bit(row, at))
    return data.FlexibleLayout(bit(ROWS, 0), fields)


def length(op: str) -> int:
    """Rows of an operation."""
    return 1 + max([row for row, _ in [*PLACES[op].values(), WAIT.get(op, (0, 0))]])


def row_of(op: str, operand: str) -> int:
    """The row with which an operand comes."""
    return PLACES[op][operand][0]
