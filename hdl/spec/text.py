"""The text form of instructions: `OPERATION NAME=VALUE ... wait=CYCLES`.

`str(instruction)` writes it.
"""

import re
from typing import TYPE_CHECKING

from amaranth.lib import data

from .instructions import Address, EncodingError, Instruction, Op

if TYPE_CHECKING:
    from .isa import Isa

_OPERAND = re.compile(r"(\w+)=(?:(-?\d+)|A(\d+)\+(\d+)|([A-Z]\w*))")
"""NAME=NUMBER, NAME=A<register>+NUMBER or NAME=WORD: name, number, register, offset, word."""


def parse(isa: "Isa", line: str) -> Instruction:
    """The instruction that `str(instruction)` wrote as `line`; EncodingError for other text."""
    name, *words = line.split()
    if name not in Op.__members__:
        raise EncodingError(f"{name!r} is no operation: there are {', '.join(Op.__members__)}")
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
            operands[key] = _value(isa, Op[name], match)
    return isa.make(Op[name], wait, **operands)


def _value(isa, op, match):
    """The value of an operand. What its name and range should be is left to `Isa.make`."""
    key, number, base, offset, choice = match.groups()
    member = dict(isa.operands[op]).get(key)
    shape = member.shape if member else None
    if choice:
        if not isinstance(shape, type) or choice not in shape.__members__:
            raise EncodingError(f"{match[0]!r}: {op.name} has no such operand")
        return shape[choice]
    if isinstance(shape, data.Layout):
        return Address(int(offset or number), int(base or 0))
    if base is not None or isinstance(shape, type):
        raise EncodingError(f"{match[0]!r}: {key} is not {'an address' if base else 'a number'}")
    return int(number)
