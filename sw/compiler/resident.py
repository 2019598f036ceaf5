"""A resident model's program: one run a token, with a loop over the layers.

The graph's regions become four sections: before the layers; a layer up to its scores; a layer after
attention; after the layers. A timeline schedules each. Attention stands between the second and the
third; its cycles depend on the number of blocks, see `attention.py`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ...hdl.scalars.scalars import Scalars
from ...hdl.sequencer.sequencer import Sequencer
from ...hdl.spec.isa import Address, Instruction, Op, Source, To
from ...hdl.timing import Unit, next_issue, vxm_beat
from ...hdl.vxm.vxm import Vxm
from ..model.graph import Kind, Operation
from ..quant.outline import Outline
from .attention import Attention
from .builder import ABSMAX, Builder, log2
from .emit import lay_out
from .kernels import choice, embedding, norm, steps_of
from .layout import CompileError, Layout
from .placement import Resident
from .schedule import Boundary, Timeline
from .steps import IN_ORDER, ORIGIN, WITH_REGISTERS, After, Step, step

LOOK_UPS = {Kind.EMBED: embedding.look_up, Kind.POSITION: embedding.look_up_position, Kind.ANGLES: embedding.look_up_angles}
"""Kernels of the operations before the layers, by kind. They look the token and the position up in
tables in the tile."""


@dataclass(frozen=True)
class Code:
    """A lowered model: its instructions, and the sections of its listing, {number of first
    instruction: name}."""

    instructions: list[Instruction]
    sections: dict[int, str]


def lower(layout: Layout, outline: Outline) -> Code:
    """The program of a token, at any position of the layout's context; it starts at instruction 0.

    CompileError if it does not fit the program memory.
    """
    builder = Builder(layout, outline, Resident(layout))
    attention = Attention(builder)
    return _Token(builder, attention).code()


def paced(builder: Builder, operations: Iterable[Operation] = ()) -> list[Step]:
    """The first steps of a section: the period, if something in it needs one.

    If matrices have groups, it keeps short groups apart: it is the time from writing a sum to MEM until
    it can be read and added to. If one of the `operations` is a HEAD_NORM, it is also at least the time
    that the scalar unit takes for a head.
    """
    periods = [builder.added_cycles] if builder.layout.groups else []
    if any(operation.kind is Kind.HEAD_NORM for operation in operations):
        periods.append(Scalars.LATENCY + 1)
    return [step(builder.op(Op.PERIOD, value=max(periods)))] if periods else []


def count_blocks(builder: Builder, attention: Attention) -> list[Step]:
    """Steps that compute the multiples of the number of blocks, in a compact tile, which has
    registers for them."""
    right = log2(builder.config.block)
    return [builder.index(f"{times} blocks", Source.POSITION, right, times, times, builder.bits(builder.layout.context, right))
            for times in attention.multiples]


def parts_of_layer(builder: Builder) -> tuple[list[Operation], list[Operation]]:
    """(the operations of a layer up to the scores, those after attention)."""
    layer = list(builder.graph.layer)
    kinds = [operation.kind for operation in layer]
    return layer[:kinds.index(Kind.SCORES) + 1], layer[kinds.index(Kind.VALUES) + 1:]


def behind_attention(builder: Builder) -> Timeline:
    """An empty timeline whose origin is the last beat that writes attention's output."""
    heads = builder.layout.in_granules(builder.layout.heads)
    boundary = Boundary(builder.buffer["o"], heads, builder.config.beats_per_result, ABSMAX)
    return Timeline(builder.config, builder.registers.values, boundary)


class _Token:
    """Makes the sections of a token and joins them."""

    def __init__(self, builder: Builder, attention: Attention):
        self.builder, self.attention, self.config = builder, attention, builder.config

    def code(self) -> Code:
        """The program."""
        config, layer_op = self.config, next_issue(self.config, Op.LOOP)
        head_operations, tail_operations = parts_of_layer(self.builder)
        begin = self._begin()
        layer = self._behind_residual().schedule(self._steps(head_operations))
        tail = behind_attention(self.builder).schedule(self._steps(tail_operations))
        end = self._behind_residual().schedule(self._end_steps())
        first = layer.first_issue
        loop = self._next_layer(tail, tail.beats() + first - layer_op)

        # A section's origin is no earlier than the cycle in which the section before it has written its
        # vector, has issued its last instruction and has left the VXM's engine.
        left = begin.beats() + Vxm.leaving_cycles(config)
        entered = vxm_beat(config) - Vxm.entering_cycles(config)
        loaded = max(self._loaded(begin), begin.beats(Unit.ISSUE) + 1 - first, left + 1 - entered - first)
        before, head_placed = begin.moved(), layer.moved(loaded)
        head = lay_out(config, before + head_placed)
        target = len(lay_out(config, [*before, head_placed[0]])) - 1
        middle = self.attention.program(tail.first_issue)
        behind = loop + layer_op - end.first_issue + self._behind_loop(end.first_issue - first)
        return self._joined(head, target, middle, lay_out(config, tail.moved() + end.moved(behind)))

    def _joined(self, head, target, middle, rest):
        """The sections as one program; its LOOP jumps to instruction `target`."""
        config, program = self.config, head + middle + rest
        at = next(index for index, instruction in enumerate(program) if instruction.op is Op.LOOP)
        program[at] = replace(program[at], operands=program[at].operands | {"target": target})
        if len(program) > config.program_depth:
            raise CompileError(f"the program has {len(program)} instructions, and {config.name} has room for "
                               f"{config.program_depth}: choose a larger configuration")
        return Code(program, {0: "begin", target: "layer", len(head): "attention", len(head) + len(middle): "feed-forward",
                              at + 1: "end"})

    def _behind_loop(self, cycles):
        """Cycles to wait after a LOOP, which has no wait of its own: 0, or at least the issue
        cycles of a NOP."""
        return max(cycles, next_issue(self.config, Op.NOP)) if cycles > 0 else 0

    def _behind_residual(self):
        """An empty timeline whose origin is the last beat that writes x."""
        builder = self.builder
        boundary = Boundary(builder.buffer["x"], builder.dim_granules, builder.dim_granules, ABSMAX)
        return Timeline(builder.config, builder.registers.values, boundary)

    def _steps(self, operations):
        """The steps of a section with these operations."""
        found = (each for operation in operations for each in steps_of(self.builder, operation))
        return [*paced(self.builder, operations), *found]

    def _begin(self):
        """The timeline before the layers: look-ups of the token and the position, and the first
        layer's address registers."""
        builder, layout, config = self.builder, self.builder.layout, self.config
        timeline = Timeline(config, builder.registers.values)
        for operation in builder.graph.begin:
            builder.operation = operation
            timeline.schedule(LOOK_UPS[operation.kind](builder, operation))
        key_granules = layout.head // config.rows * config.granules_per_word

        def cached(register, right, times):
            return builder.index(register, Source.POSITION, right, times, builder.registers.value(register),
                                 builder.bits(layout.context, right))

        return timeline.schedule([
            *(step(builder.op(Op.SET, register=builder.registers[name], value=builder.registers.value(name)),
                   after=WITH_REGISTERS) for name in ("constants", "words")),
            cached("key", log2(config.cols), key_granules), cached("value", log2(config.rows), config.beats_per_result),
            *count_blocks(builder, self.attention)])

    def _loaded(self, begin):
        """The cycle of the last beat that writes x, or that reads it to find its largest
        magnitude."""
        x = Address(self.builder.buffer["x"])
        found = [use.cycles[-1] for cycle, instruction in begin.placed if instruction.op is Op.VXM and
                 x == instruction["dst" if instruction["to"] is To.MEM else "x"]
                 for use in begin.uses(instruction, cycle) if use.unit is Unit.VXM_BEAT]
        return int(max(found))

    def _next_layer(self, timeline, loop):
        """Places the additions to the address registers, and the LOOP in cycle `loop` or later;
        returns its cycle."""
        builder, layout, config = self.builder, self.builder.layout, self.config
        cached = layout.cache_stride
        strides = {"constants": layout.constants_stride, "words": layout.words_stride,
                   "key": cached * config.granules_per_word, "value": cached * config.beats_per_result}
        for register, stride in strides.items():
            timeline.place(step(builder.op(Op.ADD, register=builder.registers[register], value=stride), after=IN_ORDER))
        return timeline.place(step(builder.op(Op.LOOP, count=builder.shape.n_layers), after=(After(ORIGIN, loop),)))

    def _end_steps(self):
        """The steps after the layers: the last norm, the classifier, the choice.

        A run for a token within a prompt halts before them, since it needs no logits.
        """
        builder, config = self.builder, self.config
        last_norm, classifier, chosen = builder.graph.end
        builder.operation = last_norm
        measured = norm.measure(builder, last_norm)
        normalised = norm.normalise(builder, last_norm)
        stop = step(builder.op(Op.HALT, if_prompt=1), barrier=True,
                    after=(After(Unit.VXM_BEAT, Vxm.reduce_latency(config) - Sequencer.HALT_CYCLES),))
        halt = step(builder.op(Op.HALT),
                    after=(After(Unit.VXM_BEAT, Vxm.ending_cycles(config) - Sequencer.HALT_CYCLES), *IN_ORDER))
        return [*paced(builder), *measured, stop, *normalised, *steps_of(builder, classifier),
                choice.scale(builder, classifier), *steps_of(builder, chosen), halt]
