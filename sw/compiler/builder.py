"""What kernels build instructions with: the tile, the model's integers, and where everything lies."""

from dataclasses import replace

from ...hdl.spec.command import SLICES
from ...hdl.spec.config import Config
from ...hdl.spec.isa import Instruction, Op, Source, To, isa_of
from ...hdl.vxm.vxm import Vxm
from ..model.graph import Graph, Operation
from ..quant.outline import Outline
from .layout import CompileError, Layout
from .placement import Placement
from .steps import IN_ORDER, Step, step

ABSMAX, SQUARES, REDUCED = range(1, 4)
"""Scalar registers of reductions; from REDUCED on, the embedding's factors, one a group, or the maxima of all heads' scores,
and then the sums of their exponentials."""


def log2(value: int) -> int:
    """The logarithm of a power of two."""
    return value.bit_length() - 1


class Builder:
    """A model's outline on a layout, and the instructions that all kernels share.

    `operation` is the one that a kernel is at work on: instructions carry its name. `quantiser`, `step`, `root`, `scalar`,
    `reciprocals`: scalar registers of the scalar unit, in the upper half; QUANTISE leaves `quantiser` and `step`.
    """

    def __init__(self, layout: Layout, outline: Outline, placement: Placement):
        self.layout, self.outline, self.place = layout, outline, placement
        self.config: Config = layout.config
        self.graph: Graph = outline.graph
        self.shape, self.isa = outline.config, isa_of(layout.config)
        self.buffer, self.shifts = layout.buffers, outline.shifts
        self.registers = placement.registers
        self.operation: Operation | None = None
        config = self.config
        self.dim_granules = layout.in_granules(layout.dim)
        self.head_granules = layout.in_granules(layout.head)
        # What a pass over MEM has to itself, while the first engine takes a stream.
        self.aside = {"engine": 1} if config.engines > 1 else {}
        # Cycles from a beat that writes a granule to the first that can add to it.
        self.added_cycles = Vxm.latency(config) + 1
        upper = config.scalars // 2
        needed = REDUCED + max(2 * self.shape.n_heads, layout.embedding_groups)
        if needed > upper:
            raise CompileError(f"{self.shape.n_heads} heads and {layout.embedding_groups} groups of an embedding need "
                               f"{2 * needed} scalar registers, and {config.name} has {config.scalars}: choose a larger "
                               "configuration")
        self.quantiser, self.step, self.root, self.scalar, self.reciprocals = range(upper, upper + 5)

    def op(self, op: Op, note: str = "", **operands) -> Instruction:
        """An instruction. One for a slice belongs to the operation that the kernel is at work on; what the sequencer does
        itself belongs to none.
        """
        instruction = self.isa.make(op, note=note, **operands)
        return replace(instruction, operation=self.operation.name) if op in SLICES else instruction

    def word(self, buffer: str) -> int:
        """The MEM word at which a buffer begins."""
        word, within = divmod(self.buffer[buffer], self.config.granules_per_word)
        assert not within, buffer
        return word

    def vector_pass(self, note: str, count: int, **operands) -> Instruction:
        """A pass of the VXM over `count` granules of MEM."""
        return self.op(Op.VXM, note, **(self.aside | {"x_step": 1, "inner": count, "to": To.MEM} | operands))

    def spread(self, note: str, count: int, rate: int, **operands) -> list[Instruction]:
        """The ways to spread a pass over the gaps of a stream whose results come every `rate` cycles: for `best`."""
        free = rate - self.config.beats_per_result
        found = [self.vector_pass(note, count, **operands)]
        for inner in range(1, min(free, count - 1) + 1):
            if count % inner == 0:
                found.append(self.vector_pass(note, count,
                                              **operands | {"inner": inner, "middle": count // inner, "interval": rate}))
        return found

    def rounds(self, note: str, heads: int, rate: int, **operands) -> list[Instruction]:
        """The ways to spread a pass of one round a head, where the values of heads come every `rate` cycles."""
        dense = self.op(Op.VXM, note, **(self.aside | {"x_step": 1, "to": To.MEM, "outer": heads} | operands))
        return [dense] + [self.op(Op.VXM, note, **(dense.operands | {"interval": rate}))] * (rate >= dense["inner"])

    def index(self, register: str, source: Source, right: int, times: int, value: int, bits: int = 0, after=IN_ORDER) -> Step:
        """An INDEX: register = value + (source >> right) * times."""
        return step(self.op(Op.INDEX, register=self.registers[register], source=source, right=right, bits=bits, times=times,
                            value=value), after=after)

    def bits(self, count: int, right: int) -> int:
        """The bits from `right` on of numbers below `count`, as a compact tile takes two cycles for each; elsewhere 0: all."""
        return max(1, (count - 1 >> right).bit_length()) if self.config.compact else 0
