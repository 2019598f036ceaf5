"""Instructions to bits and back, by their layouts."""


from amaranth.hdl import Shape
from amaranth.lib import data

from .choice import members
from .instructions import Address, EncodingError, Instruction, Op
from .layouts import Layouts
from .legal import check, check_operation
from .row_encoding import COPIES, WAIT, bit

ALL_BITS = (1 << 4) - 1
"""In rows, `bits` of an INDEX is the number of the highest bit; this stands for all bits."""


def encode(layouts: Layouts, instruction: Instruction) -> int:
    """The instruction as an integer of `Layouts.width` bits; EncodingError if it is not legal."""
    check(layouts, instruction)
    operands = dict(instruction.operands)
    op, in_rows = instruction.op, layouts.config.profile.instruction_rows
    if in_rows and op is Op.INDEX:
        operands["bits"] = operands["right"] + operands["bits"] - 1 if operands["bits"] else ALL_BITS
    code = _insert(layouts.instruction["op"], op) | _insert(_wait_field(layouts, op), instruction.wait)
    for name, place in layouts.places(op).items():
        value = operands[name]
        if place.base:
            code |= place.number.insert(value.offset) | place.base.insert(value.base)
        else:
            code |= place.number.insert(getattr(value, "value", value))
    for name, places in COPIES.get(op.name, {}).items() if in_rows else ():
        for place in places:
            code |= operands[name] << bit(*place)
    return code


def decode(layouts: Layouts, code: int) -> Instruction:
    """The instruction that `code` encodes; EncodingError for bits that encode no instruction."""
    if not 0 <= code < 1 << layouts.width:
        raise EncodingError(f"{code:#x} is not an instruction of {layouts.width} bits")
    number = _extract(code, layouts.instruction["op"])
    if number not in {op.value for op in Op}:
        raise EncodingError(f"{code:#x}: no operation has number {number}")
    op = Op(number)
    check_operation(layouts, op)
    operands = {name: _value(code, op, name, field) for name, field in _operand_fields(layouts, op)}
    if layouts.config.profile.instruction_rows and op is Op.INDEX:
        bits = operands["bits"] + 1 - operands["right"]
        operands["bits"] = 0 if operands["bits"] == ALL_BITS else max(bits, 0)
    instruction = Instruction(op, _extract(code, _wait_field(layouts, op)), operands)
    if encode(layouts, instruction) != code:
        raise EncodingError(f"{code:#x}: bits are set that no operand of {op.name} uses")
    return instruction


def _wait_field(layouts, op):
    """The field of an operation's wait."""
    wait = layouts.instruction["wait"]
    place = WAIT.get(op.name) if layouts.config.profile.instruction_rows else None
    return data.Field(wait.shape, bit(*place)) if place else wait


def _operand_fields(layouts, op):
    """Names and fields of an operation's operands; offsets count from the instruction's bit 0."""
    base = layouts.instruction["operands"].offset
    return [(name, data.Field(field.shape, base + field.offset)) for name, field in layouts.operands[op]]


def _value(code, op, name, field):
    """The operand in a field of `code`: an integer, an Address or a member of an enumeration."""
    value, shape = _extract(code, field), field.shape
    if isinstance(shape, data.Layout):
        return Address(_extract(value, shape["offset"]), _extract(value, shape["base"]))
    if words := members(shape):
        if value not in {word.value for word in words}:
            raise EncodingError(f"{code:#x}: {op.name} has no {name} {value}")
        return shape(value)
    if Shape.cast(shape).signed:
        value -= (value >> field.width - 1) << field.width
    return value


def _extract(code, field):
    return code >> field.offset & (1 << field.width) - 1


def _insert(field, value):
    """A number, or a word, at its place among an instruction's bits."""
    return (getattr(value, "value", value) & (1 << field.width) - 1) << field.offset
