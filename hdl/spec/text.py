"""The text form of instructions: `OPERATION NAME=VALUE ... wait=CYCLES`.

`str(instruction)` writes it.
"""

import re

from amaranth.lib import data

from .choice import Choice, members
from .instructions import Address, EncodingError, Op
from .layouts import Layouts
from .legal import check_operation

_OPERAND = re.compile(r"(\w+)=(?:(-?\d+)|A(\d+)\+(\d+)|([A-Z]\w*))")
"""NAME=NUMBER, NAME=A<register>+NUMBER or NAME=WORD: name, number, register, offset, word."""


def parse(layouts: Layouts, line: str) -> tuple[Op, int, dict]:
    """Operation, wait and operands of an instruction that `str(instruction)` wrote as `line`.

    Operands that have their default may be left out. EncodingError for any other text; operands that
    the operation does not have, or that are out of range, are left to `Isa.make`.
    """
    name, *words = line.split()
    if name not in Op.__members__:
        raise EncodingError(f"{name!r} is no operation: there are {', '.join(Op.__members__)}")
    check_operation(layouts, Op[name])
    wait, operands, given = 0, {}, set()
    for word in words:
        match = _OPERAND.fullmatch(word)
        if not match:
            raise EncodingError(f"{word!r} should be NAME=NUMBER, NAME=A<register>+NUMBER or NAME=WORD")
        key = match[1]
        if key in given:
            raise EncodingError(f"{word!r}: {key} is given twice")
        given.add(key)
        if key == "wait" and match[2]:
            wait = int(match[2])
        else:
            operands[key] = _value(layouts, Op[name], match)
    return Op[name], wait, operands


def _value(layouts, op, match):
    """The value of an operand: an integer, an Address or a member of an enumeration."""
    key, number, base, offset, choice = match.groups()
    member = dict(layouts.operands[op]).get(key)
    shape = member.shape if member else None
    if choice:
        # `legal` refuses a function that the tile lacks, and says what to do about it.
        kind = shape.enum if isinstance(shape, Choice) else shape
        if choice not in getattr(kind, "__members__", ()):
            raise EncodingError(f"{match[0]!r}: {op.name} has no such operand")
        return kind[choice]
    if isinstance(shape, data.Layout):
        return Address(int(offset or number), int(base or 0))
    if base is not None or members(shape):
        raise EncodingError(f"{match[0]!r}: {key} is not {'an address' if base else 'a number'}")
    return int(number)
