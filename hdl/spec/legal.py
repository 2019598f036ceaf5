"""The check of an instruction before it is encoded: it has just its operands, each in its range."""


from .config import Config
from .instructions import (
    COUNTS,
    MOST_SHIFT,
    OPTIONAL_FUNCTIONS,
    OPTIONAL_OPERATIONS,
    WAIT_BITS,
    Address,
    EncodingError,
    Function,
    Instruction,
    Op,
    Place,
    Reduce,
    Sfu,
)
from .layouts import Layouts


def check_operation(layouts: Layouts, op: Op) -> None:
    """Raises EncodingError for an operation that the tile does not have."""
    if op not in layouts.operands:
        raise EncodingError(f"{op.name}: tile {layouts.config.name!r} does not have this operation: "
                            f"it takes a configuration with {OPTIONAL_OPERATIONS[op]}")


def check(layouts: Layouts, instruction: Instruction) -> None:
    """Raises EncodingError unless the instruction has just its operands, each in range."""
    check_operation(layouts, instruction.op)
    places = layouts.places(instruction.op)
    if instruction.operands.keys() != places.keys():
        raise EncodingError(f"{instruction}: operands should be {', '.join(sorted(places)) or 'none'}")
    _check_range(instruction, "wait", instruction.wait, 0, (1 << WAIT_BITS) - 1)
    for name, value in instruction.operands.items():
        place, is_address = places[name], isinstance(value, Address)
        if (place.base is not None) != is_address:
            kind = "a number" if is_address else "an address"
            raise EncodingError(f"{instruction}: {name} should be {kind}")
        if is_address:
            _check_address(instruction, name, value, place)
        elif place.words:
            _check_word(layouts, instruction, name, value, place.words)
        else:
            _check_range(instruction, name, value, place.number.lowest, place.number.highest)
            _check_number(layouts.config, instruction, name, value)
    if instruction.op is Op.MOVE:
        _check_move(layouts.config, instruction)
    if layouts.config.profile.instruction_rows and instruction.op is Op.INDEX and instruction["bits"]:
        # The encoding has the number of the highest bit instead of `bits`.
        _check_range(instruction, "right + bits", instruction["right"] + instruction["bits"], 0, 15)


def _check_move(config, instruction):
    """Only whole entries are moved."""
    bits = entry_bits(config, instruction["to"])
    if instruction["count"] * config.memory.part.burst_bytes * 8 % bits:
        raise EncodingError(f"{instruction}: count must be such that the bursts are entries of {bits} bits")


def entry_bits(config: Config, to: Place) -> int:
    """Bits of an entry that a MOVE makes of the bus's words: a column's word of W-RAM, or a granule of MEM."""
    return config.rows * config.weight_bits if to is Place.WRAM else config.lanes * 16


def _check_word(layouts, instruction, name, value, words):
    if isinstance(value, Function) and value not in words and isinstance(words[0], Function):
        raise EncodingError(
            f"{instruction}: tile {layouts.config.name!r} does not have function {value.name}: "
            f"it takes a configuration with {OPTIONAL_FUNCTIONS[value]}=1")
    if value not in words:
        raise EncodingError(f"{instruction}: {name} should be one of {', '.join(word.name for word in words)}")


def _check_range(instruction: Instruction, what: str, value: int, lowest: int, highest: int) -> None:
    if not lowest <= value <= highest:
        raise EncodingError(f"{instruction}: {what} must be {lowest} to {highest}")


def _check_address(instruction, name, value, place):
    _check_range(instruction, f"{name} offset", value.offset, place.number.lowest, place.number.highest)
    _check_range(instruction, f"{name} base", value.base, place.base.lowest, place.base.highest)
    if value == Address(0) and name in COUNTS:
        raise EncodingError(f"{instruction}: {name} must be at least 1")


def _check_number(config, instruction, name, value):
    """Rules for a number besides its range."""
    half = config.scalars // 2
    op, in_blocks = instruction.op, instruction.counted_in_blocks == name
    if value == 0 and name == "register" and op is not Op.NOP:
        raise EncodingError(f"{instruction}: address register 0 is always 0")
    if name == "into" and not _may_write(config, instruction, value):
        raise EncodingError(f"{instruction}: {op.name} does not write scalar register {value}")
    if op is Op.SFU and name in ("a", "b") and not _may_read(half, instruction, name, value):
        function = instruction["function"].name
        raise EncodingError(f"{instruction}: {function} does not read scalar register {value}")
    if value == 0 and name in COUNTS and not in_blocks:
        raise EncodingError(f"{instruction}: {name} must be at least 1")
    if value > MOST_SHIFT and in_blocks:
        raise EncodingError(f"{instruction}: {name} is in blocks: it is a shift, of at most {MOST_SHIFT}")


def _may_write(config, instruction, register):
    """Whether an instruction may write a scalar register.

    An SFU writes the upper half; a reduction the lower half, but not register 0, which is always 1. For an
    ARGMAX on a tile with external memory, 1 says that it goes on.
    """
    half = config.scalars // 2
    if instruction.op is Op.SFU:
        return register >= half
    if instruction["reduce"] is Reduce.ARGMAX:
        return register <= int(config.memory is not None)
    return register == 0 if instruction["reduce"] is Reduce.NONE else 0 < register < half


def _may_read(half, instruction, name, register):
    """Whether an SFU may read a scalar register at operand `name`.

    MULTIPLY reads the upper half; other functions read the lower half at `a`, and have 0 at `b`.
    """
    if instruction["function"] is Sfu.MULTIPLY:
        return register >= half
    return register < half if name == "a" else register == 0
