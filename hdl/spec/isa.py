"""The instruction set of a configuration: layouts, encoding and text.

The names of `instructions` can be imported from here.

`instructions` says what each operation does. `operands` has the layouts of their operands and
`layouts` those of instructions, `row_encoding` the places of operands in a compact tile's rows.
`legal` checks an instruction, `codec` makes bits of it, and `text` reads its text form.
"""

from functools import cache, lru_cache

from amaranth.lib import data

from . import codec, legal, text
from .choice import members
from .config import Config
from .instructions import (
    COUNTS,
    EPSILON_BITS,
    FACTOR_BITS,
    MOST_SHIFT,
    OPTIONAL_FUNCTIONS,
    OPTIONAL_OPERATIONS,
    POSITION_BITS,
    SHIFT_BITS,
    WAIT_BITS,
    Address,
    EncodingError,
    Function,
    Instruction,
    MxmBlocks,
    Op,
    Place,
    Reduce,
    Sfu,
    Source,
    Then,
    To,
    VxmBlocks,
)
from .layouts import Layouts
from .operands import Widths, functions

__all__ = [
    "COUNTS", "EPSILON_BITS", "FACTOR_BITS", "MOST_SHIFT", "OPTIONAL_FUNCTIONS", "OPTIONAL_OPERATIONS", "POSITION_BITS",
    "SHIFT_BITS", "WAIT_BITS", "Address", "EncodingError", "Function", "Instruction", "Isa", "MxmBlocks", "Op",
    "Place", "Reduce", "Sfu", "Source", "Then", "To", "VxmBlocks", "functions", "isa_of", "members",
]


class Isa:
    """The instruction set of a configuration.

    config         the configuration
    operands       by operation: the layout of its operands, as they lie in an instruction
    layout         the layout of an instruction; see `Layouts.instruction`
    width          bits of an instruction
    registers      address registers
    register_bits  bits of an address register
    counters       loop counters, which is how deep loops nest
    count_bits     bits of a count, and of a period
    number_bits    bits of the number of a granule in its round
    """

    def __init__(self, config: Config):
        widths = Widths.of(config)
        self.config = config
        self.registers, self.register_bits = config.profile.registers, widths.register_value
        self.counters = config.profile.counters
        self.count_bits, self.number_bits = widths.count, widths.number
        self._layouts = layouts = Layouts(config)
        self.operands, self.layout, self.width = layouts.operands, layouts.instruction, layouts.width

    @cache  # noqa: B019 - an Isa lives as long as its configuration
    def command(self, op: Op) -> data.StructLayout:
        """The command that a slice gets: the operands of `op`, resolved to numbers, and the period.
        """
        return data.StructLayout({
            name: member.shape["offset"].shape if isinstance(member.shape, data.Layout) else member.shape
            for name, member in self.operands[op]
        } | ({"period": self.count_bits} if op in (Op.MXM, Op.VXM, Op.SFU) else {}))

    @cache  # noqa: B019 - an Isa lives as long as its configuration
    def moduli(self, op: Op) -> dict[str, int]:
        """By operand of a command: 2 to the power of its bits, modulo which an address register is added to it."""
        return {name: 1 << field.width for name, field in self.command(op)}

    def make(self, op: Op, wait: int = 0, note: str = "", **operands) -> Instruction:
        """An instruction. Operands that are not given are 1 if they are in `COUNTS`, else 0.

        An address may be given as a number. EncodingError for an operand that the operation does
        not have, or that is out of range.
        """
        legal.check_operation(self._layouts, op)
        places = self._layouts.places(op)
        unknown = operands.keys() - places.keys()
        if unknown:
            raise EncodingError(f"{op.name} has no operand {', '.join(sorted(unknown))}")
        values = {}
        for name, place in places.items():
            value = operands.get(name, int(name in COUNTS))
            if place.base and isinstance(value, int):
                value = Address(value)
            values[name] = type(place.words[0])(value) if place.words else value
        instruction = Instruction(op, wait, values, note)
        legal.check(self._layouts, instruction)
        return instruction

    def encode(self, instruction: Instruction) -> int:
        """The instruction as an integer of `width` bits; EncodingError if it is not legal."""
        return codec.encode(self._layouts, instruction)

    def decode(self, code: int) -> Instruction:
        """The instruction that `code` encodes; EncodingError for other bits."""
        return codec.decode(self._layouts, code)

    def parse(self, line: str) -> Instruction:
        """The instruction that `str(instruction)` wrote as `line`; EncodingError for other text."""
        op, wait, operands = text.parse(self._layouts, line)
        return self.make(op, wait, **operands)


@lru_cache
def isa_of(config: Config) -> Isa:
    """The instruction set of a configuration, made once."""
    return Isa(config)
