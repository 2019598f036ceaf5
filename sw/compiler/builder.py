"""The builder: kernels make their instructions with it."""

from dataclasses import replace
from itertools import pairwise

from ...hdl.spec.command import SLICES
from ...hdl.spec.config import Config
from ...hdl.spec.isa import Address, Instruction, Op, Source, To, isa_of
from ...hdl.vxm.vxm import Vxm
from ..model.graph import Graph, Kind, Operation, Value
from ..quant.outline import Outline
from .decisions import Decisions
from .layout import CompileError, Layout
from .placement import Placement
from .steps import IN_ORDER, Step, step

ABSMAX, SQUARES, REDUCED = range(1, 4)
"""Scalar registers that reductions write. From REDUCED on there is a register for each group of the
embedding's row, with its factor; later in the token, one for each head with the maximum of its
scores, followed by one for each head with the sum of its exponentials. When the heads do not need them,
there are two for each filling (see `kernels.filling`), followed by one for each group of an input of
products, with its largest magnitude."""


def log2(value: int) -> int:
    """The binary logarithm of a power of two."""
    return value.bit_length() - 1


def moved_by(address: int | Address, granules: int) -> int | Address:
    """An address that is so many granules later."""
    return replace(address, offset=address.offset + granules) if isinstance(address, Address) else address + granules


class Builder:
    """A model's outline, its layout and its placement, with the instructions that all kernels
    share.

    `decisions`: of the model's timelines. `operation`: the operation whose kernel runs; instructions for slices carry its name.
    `quantiser`, `step`, `root`, `scalar`, `reciprocals`: numbers of scalar registers that the scalar
    unit writes, in the upper half. QUANTISE writes the first two. `reciprocals` is the first of one
    for each head. `fillings`: the most that are under way at the same time, one more than an input of
    products has groups; they use a register each from `inverse` on, and two from `power` on. The groups, or
    halves, have their largest magnitudes from `peaks` on, two each from `group_steps` on, which QUANTISE
    writes, and their scalars from `group_scalars` on.

    CompileError if the tile has too few scalar registers for the model.
    """

    def __init__(self, layout: Layout, outline: Outline, placement: Placement, decisions: Decisions | None = None):
        self.layout, self.outline, self.place = layout, outline, placement
        self.decisions = decisions or Decisions()
        self.config: Config = layout.config
        self.graph: Graph = outline.graph
        self.shape, self.isa = outline.config, isa_of(layout.config)
        self.buffer, self.shifts = placement.buffers, outline.shifts
        self.registers = placement.registers
        self.operation: Operation | None = None
        config = self.config
        self.dim_granules = layout.in_granules(layout.dim)
        self.head_granules = layout.in_granules(layout.head)
        # Operands that give a pass over MEM the second engine, so that the first can take a stream at the
        # same time.
        self.second_engine = {"engine": 1} if config.engines > 1 else {}
        # Cycles from a beat that writes a granule to the first beat that can read it and add to it.
        self.added_cycles = Vxm.latency(config) + 1
        upper = config.scalars // 2
        groups = max(each.output.scalars if each.output.first else each.output.groups for each in self.graph.operations)
        self.fillings = groups + 1 if outline.balanced else 0
        needed = REDUCED + max(2 * self.shape.n_heads, layout.embedding_groups, self._normed_heads() + 1,
                               3 * self.fillings + 3 * groups + 1 if groups else 0)
        if needed > upper:
            raise CompileError(f"{self.shape.n_heads} heads, {layout.embedding_groups} groups of an embedding and {groups} of "
                               f"a product's inputs need {2 * needed} scalar registers, and {config.name} has "
                               f"{config.scalars}: choose a larger configuration")
        self.quantiser, self.step, self.root, self.scalar, self.reciprocals = range(upper, upper + 5)
        self.inverse, self.power = self.reciprocals, self.reciprocals + self.fillings
        self.peaks = REDUCED + max(2 * self.fillings, layout.embedding_groups)
        self.group_steps = self.power + 2 * self.fillings
        self.group_scalars = self.group_steps + 2 * groups

    def _normed_heads(self) -> int:
        """Heads that have a norm, each of which needs a scalar register in either half."""
        return (self.shape.n_heads + self.shape.n_kv_heads) * self.layout.has(Kind.HEAD_NORM)

    def op(self, op: Op, note: str = "", **operands) -> Instruction:
        """An instruction, with a note for listings. EncodingError for an operand out of range.

        An instruction for a slice belongs to `operation`; one that the sequencer executes itself
        belongs to none.
        """
        instruction = self.isa.make(op, note=note, **operands)
        return replace(instruction, operation=self.operation.name) if op in SLICES else instruction

    def rate(self, operation: Operation) -> int:
        """Cycles from one result to the next of the product before an operation, whose results the VXM takes
        meanwhile; before the first product of a layer, and behind the layers, that is a layer's last one."""
        layer = self.graph.layer
        at = layer.index(operation) if operation in layer else 0
        before = [each.name for each in (*layer[at:], *layer[:at]) if each.kind is Kind.LINEAR and each.weights]
        return self.place.matrix(before[-1]).rate

    def halves(self, value: Value, granules: int) -> list[tuple[int, int]]:
        """(first granule, the granule after the last) of each half of a vector of so many granules; of
        the whole, if it has no halves."""
        cuts = [0, *([self.layout.in_granules(value.first)] if value.first else []), granules]
        return list(pairwise(cuts))

    def word(self, buffer: str) -> int:
        """The MEM word at which a buffer begins."""
        word, within = divmod(self.buffer[buffer], self.config.granules_per_word)
        assert not within, buffer
        return word

    def vector_pass(self, note: str, count: int, **operands) -> Instruction:
        """A VXM that goes through `count` granules of MEM; `operands` replace or extend the usual
        ones."""
        usual = self.second_engine | {"x_step": 1, "inner": count, "to": To.MEM}
        return self.op(Op.VXM, note, **(usual | operands))

    def spread(self, note: str, count: int, *rates: int, **operands) -> list[Step]:
        """Choices for `best`: a pass over `count` granules in one piece, or cut into turns that fit
        the gaps of a stream.

        `rates`: of the streams that there may be at the time, cycles from one result to the next; the VXM
        takes each in `beats_per_result` of them, and a turn may use the others. Turns of all of them may
        leave a rest, for an instruction of its own, unless the pass is reduced.
        """
        found = [step(self.vector_pass(note, count, **operands))]
        for rate in sorted(set(rates)):
            found += self._turns(note, count, rate, operands)
        return found

    def _turns(self, note, count, rate, operands):
        """The choices of `spread` for one rate."""
        free, found = rate - self.config.beats_per_result, []
        for inner in range(1, min(free, count - 1) + 1):
            middle, rest = divmod(count, inner)
            turns = self.vector_pass(note, count, **operands | {"inner": inner, "middle": middle, "interval": rate})
            if not rest:
                found.append(step(turns))
            elif inner == free and "reduce" not in operands:
                moved = {name: moved_by(operands[name], middle * inner) for name in ("x", "dst")}
                if operands.get("y_step"):
                    moved["y"] = moved_by(operands["y"], middle * inner)
                found.append(step(turns, self.vector_pass(note, rest, **operands | moved), offsets=(0, middle * rate)))
        return found

    def rounds(self, note: str, heads: int, rate: int, interval: int = 0, **operands) -> list[Instruction]:
        """Choices for `best`: a pass of one round for each head, without gaps, or with a round every `rate`
        or rate / 2 cycles; or, with an `interval`, in turns of so many cycles, each with a free beat.

        `rate`: cycles from one head to the next in the stream that makes the pass's input. `interval`:
        those from one result to the next of a stream that the VXM takes meanwhile.
        """
        usual = self.second_engine | {"x_step": 1, "to": To.MEM, "outer": heads}
        dense = self.op(Op.VXM, note, **(usual | operands))
        ways = [{"interval": each} for each in sorted({rate, rate // 2}) if each >= max(dense["inner"], 2)]
        whole = 2 if operands.get("pair") else 1
        ways += [{"inner": inner, "middle": dense["inner"] // inner, "interval": interval}
                 for inner in range(whole, interval - self.config.beats_per_result + 1, whole) if dense["inner"] % inner == 0]
        found = []
        for way in ({}, *ways):
            one = self.op(Op.VXM, note, **(dense.operands | way))
            found += [one] * (one not in found)
        return found

    def index(self, register: str, source: Source, right: int, times: int, value: int, bits: int = 0,
              after=IN_ORDER) -> Step:
        """An INDEX step: register = value + (source >> right) * times. `bits`: see the function
        `bits`."""
        return step(self.op(Op.INDEX, register=self.registers[register], source=source, right=right, bits=bits, times=times,
                            value=value), after=after)

    def bits(self, count: int, right: int) -> int:
        """The operand `bits` of an INDEX whose source is below `count` and is shifted right by
        `right`.

        A compact tile takes two cycles for each bit, so it is told how many there can be; in other
        tiles the operand is 0, which means all bits.
        """
        return max(1, (count - 1 >> right).bit_length()) if self.config.compact else 0
