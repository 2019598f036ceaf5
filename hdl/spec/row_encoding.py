"""The encoding of a compact tile's instructions: rows of 24 bits, which are read one a cycle.

======= ======= ============== =================================================
bits    15:0    19:16          23:20
======= ======= ============== =================================================
first   wait    operation      address register of the next row's value
others  value   other operands address register of the next row's value
======= ======= ============== =================================================

Bits 23:20 may have other operands where the next row has no address, but for the last row, behind which the wait of the
next instruction comes. Where a value is shorter than 16 bits, other operands lie above it.

A row is a link word. The hardware resolves an operand that has an address register in the cycle in
which its row arrives, with one adder for all rows, and never holds a whole instruction.
"""

from amaranth.lib import data

ROWS = 8
"""Rows that each instruction takes in the program memory, and the most that it can have."""
ROW_BITS = 24
VALUE_BITS = 16
"""Width of a row's value, and of an address register."""
LINK_BITS = 32
OPERATION = 16
"""The lowest bit of the operation in the first row."""
NEXT = 20
"""The lowest bit of the address register's number in a row. The next row's value is added to it."""

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
        "dst": (5, 0), "stream": (5, 16), "by_vector": (5, 17), "plus": (5, 18), "bare": (5, 19), "then": (5, 20),
        "inner": (6, 0), "dst_hop": (6, 10), "paced": (6, 21), "function": (6, 22),
        "shift": (7, 0), "narrow": (7, 7), "to": (7, 8), "mask": (7, 10), "reduce": (7, 11), "into": (7, 14), "high": (7, 19),
    },
    "SFU": {"a": (1, 0), "b": (1, 6), "into": (1, 12), "function": (1, 18), "epsilon": (2, 0), "count": (3, 0)},
}
"""By operation and operand: row and lowest bit. Its address register is in the row before."""
WAIT = {"NOP": (1, 0)}
"""Row and lowest bit of a NOP's wait, to which a register is added; other waits are in row 0."""
COPIES = {"ADD": {"register": ((0, NEXT),)}, "INDEX": {"register": ((2, 16), (2, NEXT))}}
"""Further places of an operand: a register that is written is also read, a row before the value."""


def bit(row: int, at: int) -> int:
    """Number of a bit in an instruction: bit `at` of a row."""
    return row * LINK_BITS + at


def in_rows(op: str, operands: data.StructLayout) -> data.FlexibleLayout:
    """The layout of an operation's operands in the rows of its instruction.

    `op`: name of the operation. `operands`: the operands' names and shapes.

    ValueError if an operand is too wide for its place.
    """
    fields = {}
    for name, member in operands:
        row, at = PLACES[op][name]
        if isinstance(member.shape, data.Layout):
            # The field reaches from the register in the row before to the end of the value.
            low = bit(row, at) - bit(row - 1, NEXT)
            offset, base = (member.shape[part].shape for part in ("offset", "base"))
            shape = data.FlexibleLayout(low + offset, {"offset": data.Field(offset, low), "base": data.Field(base, 0)})
            fields[name] = data.Field(shape, bit(row - 1, NEXT))
        else:
            if at + member.width > ROW_BITS:
                raise ValueError(f"{op} {name}: {member.width} bits from bit {at} on do not fit into a row "
                                 f"of {ROW_BITS}")
            fields[name] = data.Field(member.shape, bit(row, at))
    return data.FlexibleLayout(bit(ROWS, 0), fields)


def length(op: str) -> int:
    """Number of rows of an operation."""
    return 1 + max([row for row, _ in [*PLACES[op].values(), WAIT.get(op, (0, 0))]])


def row_of(op: str, operand: str) -> int:
    """Number of the row in which an operand arrives."""
    return PLACES[op][operand][0]
