"""The bodies of a run in external memory: a chunk's operations, while the segment of the next chunk comes.

`overlapped.py` has the drawing. In the program of a block a body does its operations once for each position::

    bus     | MOVE: weights of the next segment                 | MOVE: its constants |
    tile    | position 0 | position 1 | ... | the last position |                     | the next chunk
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...hdl.spec.isa import POSITION_BITS, Address, Instruction, Op, Place, Reduce, Source
from ...hdl.timing import issue_cycles
from ..model.graph import Kind, Operation
from ..program.stream import Section, arriving
from .attention import Attention
from .blocked import in_slot, kept_output
from .builder import Builder, log2
from .emit import lay_out
from .external import ExternalLayout, bursts_of
from .far_cache import FarCache
from .kernels import choice, heads, steps_of
from .pen import CELLS, CHUNKS, LAYERS, POSITIONS, Pen, shortened
from .resident import behind_attention, paced
from .schedule import Timeline
from .segments import TAKE_FROM_SEGMENT
from .steps import step


@dataclass(frozen=True)
class Next:
    """The segment that comes during a body, in bursts."""

    weights: int
    constants: int


class Bodies:
    """Writes the bodies of a run one after another into `code`, whose first instruction is number `origin`.

    `sections`: {number of first instruction: name}.
    """

    def __init__(self, builder: Builder, origin: int = 0):
        self.builder, self.config, self.origin = builder, builder.config, origin
        self.layout: ExternalLayout = builder.layout
        self.attention, self.number, self.slots = Attention(builder), builder.registers, builder.layout.slots
        self.code: list[Instruction] = []
        self.sections: dict[int, str] = {}

    @property
    def here(self) -> int:
        """The number of the next instruction."""
        return self.origin + len(self.code)

    def op(self, op: Op, **operands) -> Instruction:
        """An instruction that belongs to no operation."""
        return self.builder.isa.make(op, **operands)

    def arriving(self, section: Section, chunk: int = 0) -> Next:
        """The segment of a chunk."""
        layout = self.layout
        return Next(*bursts_of(self.config, *arriving(layout.layer_sections, layout.end_sections, section, chunk)))

    def begin(self, following: Next) -> None:
        """The beginning of a token, or of each position of a block: address registers, and the operations before the
        layers."""
        builder, place = self.builder, self.builder.place
        self.sections[self.here] = "begin"
        for name in place.zeros:
            self.code.append(self.op(Op.SET, register=self.number[name], value=0))
        for name, positions, times in place.of_position:
            self.code.append(self.op(Op.INDEX, register=self.number[name], source=Source.POSITION, right=log2(positions),
                                     times=times, value=self.number.value(name)))
        self._body(list(builder.graph.begin), following)

    def layers(self) -> None:
        """The sections of a layer, in a loop over the layers."""
        first, layer = self.here, self.layout.layer_sections
        for number, section in enumerate(layer):
            last = number == len(layer) - 1
            behind = self.builder.place.strides.items() if last else ()
            self.section(section, self.arriving(layer[0] if last else layer[number + 1]), behind)
        self._loop(first, self.builder.shape.n_layers, LAYERS)

    def section(self, section: Section, following: Next | None, behind: Iterable[tuple[str, int]] = ()) -> None:
        """The bodies of a section's chunks. `following`: what comes during the last; `behind`: (register, number) of
        additions after all of them."""
        chunks = section.chunks
        self.sections[self.here] = section.name
        if self.layout.far_cache and section.cached:
            self._fetch_cache(section)
        if chunks > 1:
            start = 0 if self.layout.whole or not self._is_last(section) else self.layout.logits_far
            self.code.append(self.op(Op.SET, register=self.number["results"], value=start))
        self.builder.place.chunks = chunks
        later = self.arriving(section, 1) if chunks > 1 else None
        # The first chunk is like those behind it, unless operations come before its matrix, or it begins an ARGMAX.
        alone = int(section.before > 0 or self._is_last(section))
        if alone and chunks > 1:
            self._chunk(section, 0, later)
        turns, target = chunks - 1 - alone, self.here
        if turns > 0:
            self._chunk(section, alone, later)
        if turns > 1:
            self._loop(target, turns, CHUNKS)
        self._chunk(section, chunks - 1, following, behind)

    def _fetch_cache(self, section):
        """The operations of a section before its scores; then keys and values of the position go to external memory, and
        those of all positions come to W-RAM."""
        operations = self._operations(section, 0)
        before = operations[:[each.kind for each in operations].index(Kind.SCORES)]
        pen = Pen(self.config, self.number.values, self._computing(before, None))
        FarCache(self.builder, pen, self.here).write(before[-1])
        self.code += pen.code

    def _operations(self, section, chunk):
        return [self.builder.graph.find(name) for name in section.steps_of(chunk)]

    def _is_last(self, section):
        """Whether a section has the classifier."""
        return section is self.layout.end_sections[-1]

    def _loop(self, target, count, counter):
        """A LOOP behind a body, whose last instruction waits less for it."""
        loop = self.op(Op.LOOP, count=count, target=target, counter=counter)
        self.code = [*shortened(self.config, self.code, issue_cycles(self.config, loop)), loop]

    def _chunk(self, section, chunk, following, behind=()):
        """The body of a chunk."""
        layout, builder = self.layout, self.builder
        builder.place.argmax = {"reduce": Reduce.ARGMAX, "into": int(chunk > 0)}
        operations = self._operations(section, chunk)
        kinds = [each.kind for each in operations]
        if layout.far_cache and Kind.SCORES in kinds:
            operations = operations[kinds.index(Kind.SCORES):]
        leaves = None if layout.whole or not self._is_last(section) else layout.logit_bursts
        adds = list(behind)
        if section.chunks > 1:
            results = layout.matrices[next(name for name in section.steps if name in layout.matrices)].results
            adds.append(("results", leaves or results * self.config.beats_per_result))
        self._body(operations, following, adds, leaves)

    def _body(self, operations, following: Next | None, adds=(), leaves: int | None = None):
        """A body; the next one can follow at once.

        `adds`: (register, number) of additions when its operations are done. `leaves`: bursts of logits that it brings to
        external memory.
        """
        code = self._computing([each for each in operations if each.kind is not Kind.CHOOSE], following)
        pen = Pen(self.config, self.number.values, [])
        self._write(pen, code, following, any(each.kind is Kind.SCORES for each in operations))
        computed = pen.last + 1
        if following is not None:
            if following.weights:
                pen.follow(*pen.moved)
            if following.constants:
                pen.until(max(pen.free, computed))
                pen.move(self._move(Place.MEM, following.weights, self.layout.segment, following.constants))
            adds = [*adds, ("far", following.weights + following.constants), ("buffer", self.config.wram_depth // 2)]
        pen.until(computed)
        if leaves:
            pen.until(max(pen.free, computed))
            pen.move(self.op(Op.MOVE, to=Place.SDRAM, near=self.layout.buffers["logits"], count=leaves,
                             far=self.number.address("results") if self.builder.place.chunks > 1
                             else Address(self.layout.logits_far)))
        for register, value in adds if following is not None else ():
            pen.add(self._add(register, value))
        if following is None:
            self._ended(pen, computed)
        else:
            # A loop takes some cycles between the additions and the next body.
            loop = issue_cycles(self.config, self.op(Op.LOOP, count=2, target=0))
            pen.until(max(pen.free, pen.last + 1, pen.at + loop))
        self.code += pen.code

    def _ended(self, pen, computed):
        """The end of a token."""
        pen.until(max(computed, pen.last + 1, pen.free))
        if self.config.memory.sweep:
            # A run for a prompt reads all rows, too.
            pen.add(self.op(Op.HALT, if_prompt=1))
        pen.add(self.op(Op.TOKEN, target=0))
        pen.until(max(pen.last, pen.free))
        pen.add(self.op(Op.HALT))

    def _add(self, register, value):
        bits = self.builder.isa.register_bits
        return self.op(Op.ADD, register=self.number[register], value=value % (1 << bits))

    def _move(self, to, offset, near, count):
        return self.op(Op.MOVE, to=to, far=Address(offset, self.number["far"]), near=near, count=count)

    # Operations

    def _write(self, pen, code, following, cached):
        """Writes a body's operations; those of a block in a loop over its positions. `cached`: they use the KV cache, of which
        a position's place changes from cell to cell."""
        first = int(following is not None and following.weights > 0) if self.slots else len(code)
        for instruction in code[:first]:
            pen.add(instruction)
        if not self.slots:
            return
        positions, cell = self.slots.positions, self.layout.cell
        target, since = self.here + first, pen.at
        for instruction in code[first:]:
            pen.add(instruction)
        chunked = ("results",) if self.builder.place.chunks > 1 else ()
        moved = [("slot", self.slots.stride), *((name, self.slots.stride) for name in chunked)]
        back = [(name, positions * value) for name, value in moved]
        inner = cell if cached and positions > cell else positions
        self._turn(pen, [self.op(Op.STEP, value=1), *(self._add(*each) for each in moved)], since, inner, target, POSITIONS)
        if inner < positions:
            cells, moved = positions // cell, [(name, times) for name, _, times in self.builder.place.of_position]
            self._turn(pen, [self._add(*each) for each in moved], since, cells, target, CELLS)
            back += [(name, cells * times) for name, times in moved]
        pen.add(self.op(Op.STEP, value=-positions % (1 << POSITION_BITS)))
        for register, value in back:
            pen.add(self._add(register, -value))

    def _turn(self, pen, adds, since, count, target, counter):
        """Ends a turn of a loop of `count` turns that has begun in cycle `since` with instruction `target`; the pen then is
        behind them all."""
        behind = [*adds, self.op(Op.LOOP, count=count, target=target, counter=counter)]
        # Entries come to W-RAM every so many cycles: keys and values of all positions are written between them.
        ends, apart = max(pen.last + 1, pen.at), self.builder.place.fill_cycles
        after = sum(issue_cycles(self.config, each) for each in behind)
        pen.until(ends + (since - ends - after) % apart)
        for instruction in behind:
            pen.add(instruction)
        pen.turns(count, since)

    def _computing(self, operations, following):
        """The operations of a body, with the MOVE of the weights that come meanwhile: as the first instruction, or, where it
        brings an entry in each cycle, behind the writes of keys and values, for which it leaves no room."""
        builder, config = self.builder, self.config
        timeline = Timeline(config, self.number.values)
        kinds = [operation.kind for operation in operations]
        attends = Kind.SCORES in kinds
        first = kinds.index(Kind.SCORES) + 1 if attends else len(kinds)
        bring, late = [], attends and builder.place.fill_cycles == 1 and not self.slots
        if following is not None and following.weights:
            half = Address(config.wram_depth // 2, self.number["buffer"])
            bring = [step(self._move(Place.WRAM, 0, half, following.weights))]
        steps = [*paced(builder, operations), *self._steps(operations[:first])]
        head = timeline.schedule([*steps, *bring] if late else [*bring, *steps])
        if not attends:
            return lay_out(config, head.moved())
        behind = [each for each in operations[first:] if each.kind not in (Kind.SOFTMAX, Kind.VALUES)]
        output = kept_output(builder) if self.slots and builder.place.chunks > 1 else []
        steps = [*paced(builder, behind), *output, *self._steps(behind, Kind.VALUES)]
        tail = behind_attention(builder, self.attention).schedule(steps)
        return lay_out(config, head.moved()) + self.attention.program(tail.first_issue) + lay_out(config, tail.moved())

    def _steps(self, operations: Sequence[Operation], made: Kind | None = None):
        """The steps of operations. `made`: the kind of an operation whose result is there."""
        if self.slots:
            return in_slot(self.builder, operations, made, self._steps_of)
        return [each for operation in operations for each in self._steps_of(operation)]

    def _steps_of(self, operation):
        """The steps of an operation, with those around it that a model in external memory needs."""
        builder = self.builder
        builder.operation = operation
        if operation.kind in TAKE_FROM_SEGMENT:
            return TAKE_FROM_SEGMENT[operation.kind](builder, operation)
        if operation.kind in (Kind.ROTATE, Kind.SPLIT) and not self.layout.far_cache:
            return [*heads.cache_values(builder), *steps_of(builder, operation)]
        steps = steps_of(builder, operation)
        if operation.kind is Kind.NORM and operation in builder.graph.end:
            steps.append(choice.scale(builder, builder.graph.find("classifier")))
        return steps
