"""The layouts of a configuration's instructions: where each field lies among an instruction's bits."""

from dataclasses import dataclass

from amaranth.hdl import Shape
from amaranth.lib import data

from .choice import Choice, members
from .config import Config
from .instructions import WAIT_BITS, Op
from .operands import operand_layouts
from .row_encoding import LINK_BITS, OPERATION, ROWS, in_rows


@dataclass(frozen=True)
class Bits:
    """A number among an instruction's bits. `first`: its lowest bit. `lowest`, `highest`: its range."""

    first: int
    lowest: int
    highest: int

    @classmethod
    def of(cls, field: data.Field, first: int) -> "Bits":
        """The number of a field that lies `first` bits above an instruction's bit 0."""
        shape = Shape.cast(field.shape)
        lowest = -(1 << shape.width - 1) if shape.signed else 0
        return cls(first + field.offset, lowest, lowest + (1 << shape.width) - 1)

    def insert(self, value: int) -> int:
        """A number in this range at its place."""
        return (value & self.highest - self.lowest) << self.first


@dataclass(frozen=True)
class Operand:
    """An operand of an operation. `number`: its bits, or those of an address's offset. `base`: the bits of an address's
    register; None if it is no address. `words`: the words that it can be; empty for an address and a number."""

    number: Bits
    base: Bits | None
    words: list

    @classmethod
    def of(cls, field: data.Field, first: int) -> "Operand":
        """The operand in a field of operands that lie `first` bits above an instruction's bit 0."""
        if isinstance(shape := field.shape, data.Layout):
            number, base = (Bits.of(shape[name], first + field.offset) for name in ("offset", "base"))
            return cls(number, base, [])
        return cls(Bits.of(field, first), None, members(shape))


class Layouts:
    """The layouts of instructions for a configuration.

    config       the configuration
    operands     by operation: the layout of its operands, as they lie in an instruction
    operations   the operations of the tile, as the shape of a field
    width        bits of an instruction
    instruction  layout of an instruction: `op`, `wait`, and `operands`, a union with the operands of
                 each operation. In rows (see `row_encoding`) the three overlap: operands lie around
                 the operation.
    """

    def __init__(self, config: Config):
        self.config = config
        self.operands: dict[Op, data.Layout] = dict(operand_layouts(config))
        if config.profile.instruction_rows:
            self.operands = {op: in_rows(op.name, layout) for op, layout in self.operands.items()}
        self.operations = Choice(Op, tuple(self.operands))
        union = data.UnionLayout({op.name.lower(): layout for op, layout in self.operands.items()})
        if config.profile.instruction_rows:
            fields = {"op": data.Field(self.operations, OPERATION), "wait": data.Field(WAIT_BITS, 0)}
            fields["operands"] = data.Field(union, 0)
            self.instruction = data.FlexibleLayout(ROWS * LINK_BITS, fields)
        else:
            self.instruction = data.StructLayout({"op": self.operations, "wait": WAIT_BITS, "operands": union})
        self.width = self.instruction.size
        self._places: dict[Op, dict[str, Operand]] = {}

    def places(self, op: Op) -> dict[str, Operand]:
        """The operands of an operation by name, in numbers, which take less time to read than layouts."""
        if op not in self._places:
            first = self.instruction["operands"].offset
            self._places[op] = {name: Operand.of(field, first) for name, field in self.operands[op]}
        return self._places[op]
