"""A resident model's program: one run a token, with a loop over the layers.

The graph's regions become four sections: before the layers; a layer up to its scores; a layer after
attention; after the layers. A timeline schedules each. Attention stands between the second and the
third; its cycles depend on the number of blocks, see `attention.py`. Where attention has several paces, each for a
range of positions, the program has the sections once for each pace, and a run begins with those of its position.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ...hdl.scalars.scalars import Scalars
from ...hdl.sequencer.sequencer import Sequencer
from ...hdl.spec.isa import Instruction, Op, Source
from ...hdl.timing import Unit, next_issue
from ...hdl.vxm.vxm import Vxm
from ..model.graph import Kind, Operation
from ..quant.outline import Outline
from .attention import Attention
from .builder import Builder, log2
from .chained import makes_squares
from .decisions import Decisions
from .emit import lay_out
from .kernels import choice, embedding, norm, steps_of
from .layout import CompileError, Layout
from .orders import orders
from .placement import Resident
from .schedule import Timeline
from .steps import IN_ORDER, ORIGIN, WITH_REGISTERS, After, Step, step

LOOK_UPS = {Kind.EMBED: embedding.look_up, Kind.POSITION: embedding.look_up_position, Kind.ANGLES: embedding.look_up_angles}
"""Kernels of the operations before the layers, by kind. They look the token and the position up in
tables in the tile."""


MOST_RANGES = 4
"""Ranges of positions with a program of their own."""
LEAST_GAIN = 1 / 1500
"""The part of the cycles of a layer, but for those of attention, that a range must save in the mean."""
SEVERAL_BLOCKS = 4
"""Blocks of a range from which on the scores begin before all queries are there; more blocks would gain nothing."""


@dataclass(frozen=True)
class Code:
    """A lowered model: its instructions, the sections of its listing, {number of first
    instruction: name}, and the `entries` of its ranges of positions, as in `Program`."""

    instructions: list[Instruction]
    sections: dict[int, str]
    entries: tuple[tuple[int, int], ...] = ((0, 0),)


def lower(layout: Layout, outline: Outline, decisions: Decisions | None = None) -> Code:
    """The program of a token, at any position of the layout's context. `decisions`: of its timelines.

    It has as many ranges of positions as the program memory has room for, up to `MOST_RANGES`. CompileError if not even
    one fits.
    """
    builder = Builder(layout, outline, Resident(layout), decisions)
    attention = Attention(builder, ranges=MOST_RANGES)
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
    bits = builder.bits(builder.layout.context, right)
    return [builder.index(name, Source.POSITION, right, times, builder.registers.value(name), bits)
            for name, times in attention.counted.items()]


def parts_of_layer(builder: Builder) -> tuple[list[Operation], list[Operation], list[Operation]]:
    """(the operations of a layer that come at the end of the layer before, those up to the scores, those after
    attention).

    A norm in halves comes early: its first half is brought to 8 bits while the product that writes the second
    half runs.
    """
    layer = list(builder.graph.layer)
    kinds, early = [operation.kind for operation in layer], int(layer[0].output.first > 0)
    return layer[:early], layer[early:kinds.index(Kind.SCORES) + 1], layer[kinds.index(Kind.VALUES) + 1:]


def behind_attention(builder: Builder, attention: Attention) -> Timeline:
    """An empty timeline whose origin is the last beat that writes attention's output."""
    return Timeline(builder.config, builder.registers.values, attention.boundary(builder.buffer["o"]),
                    decisions=builder.decisions)


class _Token:
    """Makes the sections of a token and joins them."""

    def __init__(self, builder: Builder, attention: Attention):
        self.builder, self.attention, self.config = builder, attention, builder.config

    def code(self) -> Code:
        """The program."""
        early, head, behind = parts_of_layer(self.builder)
        begin = self._begin(early)
        tail = behind_attention(self.builder, self.attention).schedule(self._steps([*behind, *early]))
        self._add_strides(tail)
        layers = [self._layer(tail, head, 1)]
        if self.attention.ranges > 1:
            layers.append(self._layer(tail, head, SEVERAL_BLOCKS))
            self._choose(layers, tail)
        while True:
            code, sections, entries = [], {}, []
            for blocks, pace in self.attention.paces:
                self.attention.pace, origin = pace, len(code)
                _, layer, late = layers[blocks >= SEVERAL_BLOCKS]
                instructions, names = self._joined(begin, layer, late, tail.copy())
                # A program behind others has other targets.
                code += [replace(each, operands=each.operands | {"target": each["target"] + origin})
                         if each.op in (Op.LOOP, Op.TOKEN) else each for each in instructions]
                sections |= {origin + at: name for at, name in names.items()}
                entries.append(((blocks - 1) * self.config.block, origin))
            if len(code) <= self.config.program_depth:
                return Code(code, sections, tuple(entries))
            if len(entries) == 1:
                raise CompileError(f"the program has {len(code)} instructions, and {self.config.name} has room for "
                                   f"{self.config.program_depth}: choose a larger configuration")
            self.attention.ranges = len(entries) - 1
            self._choose(layers, tail)

    def _choose(self, layers, tail):
        """Chooses the ranges of positions."""
        (one, *_), (several, *_) = layers
        self.attention.choose(self.attention.ranges, SEVERAL_BLOCKS, one - several, LEAST_GAIN * (tail.beats() + one))

    def _layer(self, tail, operations, blocks):
        """(the last cycle before the scores, the timeline of a layer up to its scores, the instruction that comes behind them
        or None), with at least so many blocks.

        What follows a layer begins behind its LOOP; cycles count from the layer's last beat of the VXM.
        """
        first = tail.beats(Unit.ISSUE) + 1 + next_issue(self.config, Op.LOOP)
        found = []
        for order in orders(self.builder, operations, paced(self.builder, operations), blocks):
            timeline = tail.continued(tail.beats(), first - tail.beats()).schedule(order.steps)
            last = timeline.beats(Unit.MXM_BEAT) + order.beats - blocks * self.attention.head.count * self.attention.head.scores
            found.append((last, timeline, order.late))
        return min(found, key=lambda each: each[0])

    def _joined(self, begin, layer, late, tail):
        """The sections as one program, and their names: ({number of first instruction: name})."""
        config, layer_op, origin, first = self.config, next_issue(self.config, Op.LOOP), tail.beats(), layer.first_issue
        loop = tail.place(step(self.builder.op(Op.LOOP, count=self.builder.shape.n_layers),
                               after=(After(ORIGIN, origin + first - layer_op), *IN_ORDER)))
        end = tail.continued(origin, first).schedule(self._end_steps())
        before, head_placed = begin.moved(), layer.moved(begin.origin_of(layer))
        head = lay_out(config, before + head_placed)
        target = len(lay_out(config, [*before, head_placed[0]])) - 1
        self.attention.late = late
        middle = self.attention.program(tail.first_issue)
        behind = loop + layer_op - end.first_issue + self._behind_loop(end.first_issue - first)
        program = [*head, *middle, *lay_out(config, tail.moved() + end.moved(behind))]
        at = next(index for index, instruction in enumerate(program) if instruction.op is Op.LOOP)
        program[at] = replace(program[at], operands=program[at].operands | {"target": target})
        return program, {0: "begin", target: "layer", len(head): "attention", len(head) + len(middle): "feed-forward",
                         at + 1: "end"}

    def _behind_loop(self, cycles):
        """Cycles to wait after a LOOP, which has no wait of its own: 0, or at least the issue
        cycles of a NOP."""
        return max(cycles, next_issue(self.config, Op.NOP)) if cycles > 0 else 0

    def _steps(self, operations):
        """The steps of a section with these operations."""
        found = (each for operation in operations for each in steps_of(self.builder, operation))
        return [*paced(self.builder, operations), *found]

    def _begin(self, early):
        """The timeline before the layers: look-ups of the token and the position, the first layer's address
        registers, and the operations `early` of the first layer."""
        builder, layout, config = self.builder, self.builder.layout, self.config
        timeline = Timeline(config, builder.registers.values, decisions=builder.decisions)
        for operation in builder.graph.begin:
            builder.operation = operation
            timeline.schedule(LOOK_UPS[operation.kind](builder, operation))
        first_norm = next(each for each in builder.graph.layer if each.kind is Kind.NORM)
        if makes_squares(layout, first_norm):
            builder.operation = first_norm
            timeline.schedule([norm.squares(builder)])
        timeline.schedule(each for operation in early for each in steps_of(builder, operation))
        key_granules = layout.head // config.rows * config.granules_per_word

        def cached(register, right, times):
            return builder.index(register, Source.POSITION, right, times, builder.registers.value(register),
                                 builder.bits(layout.context, right))

        return timeline.schedule([
            *(step(builder.op(Op.SET, register=builder.registers[name], value=builder.registers.value(name)),
                   after=WITH_REGISTERS) for name in ("constants", "words")),
            cached("key", log2(config.cols), key_granules), cached("value", log2(config.rows), config.beats_per_result),
            *count_blocks(builder, self.attention)])

    def _add_strides(self, timeline):
        """Places the additions to the address registers for the next layer."""
        builder, layout, config = self.builder, self.builder.layout, self.config
        cached = layout.cache_stride
        strides = {"constants": layout.constants_stride, "words": layout.words_stride,
                   "key": cached * config.granules_per_word, "value": cached * config.beats_per_result}
        for register, stride in strides.items():
            timeline.place(step(builder.op(Op.ADD, register=builder.registers[register], value=stride), after=IN_ORDER))

    def _end_steps(self):
        """The steps after the layers: the last norm, the classifier, the choice.

        A run for a token within a prompt halts before them, since it needs no logits.
        """
        builder, config = self.builder, self.config
        last_norm, classifier, chosen = builder.graph.end
        builder.operation = last_norm
        # The first half of a norm in halves is that of a layer's first norm, which has come early.
        halved = last_norm.output.first > 0
        measured = [] if halved else norm.measure(builder, last_norm)
        normalised = [] if halved else norm.normalise(builder, last_norm)
        stop = step(builder.op(Op.HALT, if_prompt=1), barrier=True,
                    after=(After(Unit.VXM_BEAT, Vxm.reduce_latency(config) - Sequencer.HALT_CYCLES),))
        halt = step(builder.op(Op.HALT),
                    after=(After(Unit.VXM_BEAT, Vxm.ending_cycles(config) - Sequencer.HALT_CYCLES), *IN_ORDER))
        return [*paced(builder), *measured, stop, *normalised, *steps_of(builder, classifier),
                choice.scale(builder, classifier), *steps_of(builder, chosen), halt]

