"""The KV cache in external memory: a layer's keys and values come to W-RAM before the layer's scores.

Between a position's queries and its scores the program writes the position's keys and values to external memory, as they
are in MEM, with 16 bits. Then it reads those of all positions back, a block of positions at a time, first keys, then values;
the same passes of the VXM that write a position's keys and values to a cache on chip copy them from MEM to W-RAM::

    bus     | keys of block 0 | values of block 0 | keys of block 1   | values of block 1 | ...
    tile    |                 | copies the keys   | copies the values | copies the keys   | ...

Each position takes the same cycles: blocks behind the position come, too, and the mask hides them. So a token opens
every row of external memory that has keys or values, in cycles that do not depend on the position.

A pass writes to the column, or row, of W-RAM that belongs to the position, in the lower bits of the position. So the copies
of a block step through its positions from the token's own on, and begin again behind the last; the block's granules are
found by the same bits, and after as many steps as a block has positions the position is the token's again.
"""

from ...hdl.spec.isa import POSITION_BITS, Instruction, Op, Place, Source
from ..model.graph import Operation
from .builder import Builder, log2
from .emit import lay_out
from .kernels import heads
from .pen import CELLS, POSITIONS, Pen
from .schedule import Timeline


class FarCache:
    """Writes the instructions that bring a layer's keys and values to W-RAM.

    `pen`: has the instructions of the position's queries. `origin`: the number of its first instruction.
    """

    def __init__(self, builder: Builder, pen: Pen, origin: int):
        self._builder, self._pen, self._origin = builder, pen, origin
        self._layout, self._config, self._number = builder.layout, builder.config, builder.registers

    def write(self, operation: Operation) -> None:
        """Writes them all. `operation`: the ROTATE or SPLIT that has made the keys."""
        layout, pen, number, config = self._layout, self._pen, self._number, self._config
        blocks, self._builder.operation = layout.context // config.block, operation
        pen.until(pen.last + 1)
        for buffer, far in ((heads.keys_buffer(operation), layout.keys_far), ("v", layout.values_far)):
            pen.until(pen.free)
            pen.move(self._op(Op.MOVE, to=Place.SDRAM, far=number.address("row", far), near=layout.buffers[buffer],
                              count=layout.row_bursts))
        for register in ("key", "value"):
            pen.add(self._op(Op.SET, register=number[register], value=number.value(register)))
        self._wait()
        self._read("far keys", layout.keys_far)
        self._wait()
        target, since = self._origin + len(pen.code), pen.at
        if blocks > 1:
            self._block()
            self._read("far keys", layout.keys_far)
            self._copy("far values")
            self._wait()
            pen.add(self._op(Op.LOOP, count=blocks - 1, target=target, counter=CELLS))
            pen.turns(blocks - 1, since)
        self._block()
        self._copy("far values")
        self._wait()

    def _block(self):
        """The values of a block come, while its keys are copied; "rows" then points to the next block."""
        layout = self._layout
        self._read("far values", layout.values_far)
        self._copy("far keys")
        self._pen.add(self._op(Op.ADD, register=self._number["rows"], value=self._config.block * layout.row_bursts))
        self._wait()

    def _read(self, buffer, far):
        """Brings keys or values of a block of positions to MEM."""
        layout = self._layout
        self._pen.move(self._op(Op.MOVE, to=Place.MEM, far=self._number.address("rows", far), near=layout.buffers[buffer],
                                count=self._config.block * layout.row_bursts))

    def _copy(self, buffer):
        """Copies them to W-RAM, in a loop over the positions. Register "results" has the granule of a position's."""
        builder, layout, pen, positions = self._builder, self._layout, self._pen, self._config.block
        target, since = self._origin + len(pen.code), pen.at
        # A position waits for the one before it, but not for the move.
        moved, pen.last = pen.last, since
        pen.add(self._op(Op.INDEX, register=self._number["results"], source=Source.POSITION, bits=log2(positions),
                         times=layout.row_granules))
        place = self._number.address("results", layout.buffers[buffer])
        steps = (heads.cache_keys(builder, place, builder.rounds) if buffer == "far keys"
                 else heads.cache_values(builder, place))
        for instruction in lay_out(self._config, Timeline(self._config, self._number.values).schedule(steps).moved()):
            pen.add(instruction)
        pen.until(pen.last + 1)
        pen.add(self._op(Op.STEP, value=1))
        pen.add(self._op(Op.LOOP, count=positions, target=target, counter=POSITIONS))
        pen.turns(positions, since)
        pen.last = max(pen.last, moved)
        register, size = (("key", layout.head // self._config.rows * self._config.granules_per_word) if buffer == "far keys"
                          else ("value", self._config.beats_per_result))
        pen.add(self._op(Op.STEP, value=-positions % (1 << POSITION_BITS)))
        pen.add(self._op(Op.ADD, register=self._number[register], value=size))

    def _wait(self):
        """Waits until all that was written is done."""
        self._pen.until(max(self._pen.free, self._pen.last + 1))

    def _op(self, op: Op, **operands) -> Instruction:
        """An instruction that belongs to no operation."""
        return self._builder.isa.make(op, **operands)
