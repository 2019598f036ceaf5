"""The layouts of a configuration's instructions: where each field lies among an instruction's bits."""

from amaranth.lib import data

from .choice import Choice
from .config import Config
from .instructions import WAIT_BITS, Op
from .operands import operand_layouts
from .row_encoding import LINK_BITS, OPERATION, ROWS, in_rows


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
