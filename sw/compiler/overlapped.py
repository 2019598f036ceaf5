"""The program of a model in external memory: a run a token, in which the next segment comes while the tile computes.

The body of a chunk, with the segment that is there, looks like this on the two::

    bus     | MOVE: weights of the next segment            | MOVE: its constants |
    tile    | the chunk's operations |                     |                     | the next chunk

The constants come when the operations are done, to the place of those that are no longer needed. A body takes
the same number of cycles at each position: attention goes through all blocks of the context, behind those that are
filled with exponentials of 0. A section is the body of its first chunk, a loop, and the body of its last one, which
brings the first segment of the next section; all layers are a loop around their sections.
"""

from dataclasses import dataclass, replace

from ...hdl.dram import Dram
from ...hdl.spec.isa import WAIT_BITS, Address, Instruction, Op, Place, Reduce, Source
from ...hdl.timing import Issue, issue_cycles, next_issue, uses
from ...hdl.timing.walk import State
from ..model.graph import Kind
from ..program.stream import Section, arriving
from ..quant.outline import Outline
from .attention import Attention
from .builder import Builder, log2
from .emit import lay_out
from .external import ExternalLayout, bursts_of
from .kernels import choice, heads, steps_of
from .layout import CompileError
from .placement import External
from .resident import Code, behind_attention, paced
from .schedule import Timeline
from .segments import TAKE_FROM_SEGMENT
from .steps import step

CHUNKS, LAYERS = 0, 1
"""Loop counters."""


def lower_external(layout: ExternalLayout, outline: Outline) -> Code:
    """The program of a token, at any position of the layout's context; it starts at instruction 0.

    CompileError if it does not fit the program memory.
    """
    builder = Builder(layout, outline, External(layout))
    program = _Token(builder).program()
    room = layout.config.program_depth - READER_INSTRUCTIONS
    if len(program.instructions) > room:
        raise CompileError(f"in external memory, the program has {len(program.instructions)} instructions, and "
                           f"{layout.config.name} has room for {room}: choose a larger program_depth")
    return program


READER_INSTRUCTIONS = 2
"""Instructions at the end of the program memory that the host uses to read external memory."""


@dataclass(frozen=True)
class _Next:
    """The segment that comes during a body, in bursts."""

    weights: int
    constants: int


class _Token:
    """Makes the bodies of a token and joins them."""

    def __init__(self, builder: Builder):
        self.builder, self.config, self.layout = builder, builder.config, builder.layout
        self.attention = Attention(builder)
        self.number = builder.registers

    def program(self) -> Code:
        """The whole program."""
        layout, sections = self.layout, {}
        layer, end = layout.layer_sections, layout.end_sections
        code = self._begin(self._arriving(layer[0], 0))
        first = len(code)
        for number, section in enumerate(layer):
            sections[len(code)] = section.name
            behind = [("key", self._stride("key")), ("value", self._stride("value")), ("cache", self._stride("cache"))]
            last = number == len(layer) - 1
            following = self._arriving(layer[0] if last else layer[number + 1], 0)
            code += self._section(section, following, len(code), behind if last else [])
        code = self._looped(code, first)
        stop = len(code)
        if not self.config.memory.sweep:
            code.append(self._op(Op.HALT, if_prompt=1))
        for number, section in enumerate(end):
            sections[len(code)] = section.name
            following = self._arriving(end[number + 1], 0) if number < len(end) - 1 else None
            code += self._section(section, following, len(code), [])
        return Code(code, {0: "begin", **sections, stop: "end"})

    def _op(self, op, wait=0, **operands) -> Instruction:
        return self.builder.isa.make(op, wait, **operands)

    def _add(self, register, value):
        return self._op(Op.ADD, register=self.number[register], value=value)

    def _stride(self, register):
        """What a layer adds to a register."""
        layout, config = self.layout, self.config
        return layout.cache_stride * {"key": config.granules_per_word, "value": config.beats_per_result,
                                      "cache": layout.halves}[register]

    def _arriving(self, section, chunk) -> _Next:
        layout = self.layout
        return _Next(*bursts_of(self.config, *arriving(layout.layer_sections, layout.end_sections, section, chunk)))

    # Sections

    def _begin(self, following):
        """The beginning of a token: address registers, and the operations before the layers."""
        layout, config, builder = self.layout, self.config, self.builder
        key_granules = layout.head // config.rows * config.granules_per_word
        first = [self._op(Op.SET, register=self.number[name], value=0) for name in ("buffer", "far", "cache")]
        for register, size, times in (("key", config.cols, key_granules), ("value", config.rows, config.beats_per_result)):
            first.append(self._op(Op.INDEX, register=self.number[register], source=Source.POSITION, right=log2(size),
                                  times=times, value=self.number.value(register)))
        operations = list(builder.graph.begin)
        return first + self._body(operations, following)

    def _section(self, section: Section, following, at, behind):
        """The bodies of a section's chunks. `following`: what comes during the last; `at`: the number of its first
        instruction; `behind`: additions to registers after all of them."""
        chunks, code = section.chunks, []
        if chunks > 1:
            start = 0 if self.layout.whole or not self._is_last(section) else self.layout.logits_far
            code.append(self._op(Op.SET, register=self.number["results"], value=start))
        self.builder.place.chunks = chunks
        later = self._arriving(section, 1) if chunks > 1 else None
        # The first chunk is like those behind it, unless operations come before its matrix, or it begins an ARGMAX.
        alone = int(section.before > 0 or self._is_last(section))
        if alone and chunks > 1:
            code += self._chunk(section, 0, later)
        turns = chunks - 1 - alone
        if turns > 0:
            target, body = at + len(code), self._chunk(section, alone, later)
            code += body if turns == 1 else self._turned(body, target, turns)
        return code + self._chunk(section, chunks - 1, following, behind)

    def _is_last(self, section):
        """Whether a section has the classifier."""
        return section is self.layout.end_sections[-1]

    def _chunk(self, section, chunk, following, behind=()):
        """The body of a chunk."""
        layout, builder = self.layout, self.builder
        builder.place.argmax = {"reduce": Reduce.ARGMAX, "into": int(chunk > 0)}
        operations = [builder.graph.find(name) for name in section.steps_of(chunk)]
        leaves = None if layout.whole or not self._is_last(section) else layout.logit_bursts
        adds = list(behind)
        if section.chunks > 1:
            results = layout.matrices[next(name for name in section.steps if name in layout.matrices)].results
            adds.append(("results", leaves or results * self.config.beats_per_result))
        return self._body(operations, following, adds, leaves)

    def _turned(self, body, target, turns):
        """A body that is done so many times: its last instructions wait less, for a LOOP."""
        return [*_shortened(self.config, body, issue_cycles(self.config, self._loop(target, turns, CHUNKS))),
                self._loop(target, turns, CHUNKS)]

    def _looped(self, code, target):
        """The program with a loop over the layers behind it."""
        loop = self._loop(target, self.builder.shape.n_layers, LAYERS)
        return [*_shortened(self.config, code, issue_cycles(self.config, loop)), loop]

    def _loop(self, target, count, counter):
        return self._op(Op.LOOP, count=count, target=target, counter=counter)

    # Bodies

    def _body(self, operations, following: _Next | None, adds=(), leaves: int | None = None):
        """The instructions of a body; the next one can follow at once.

        `adds`: (register, number) of additions when its operations are done. `leaves`: bursts of logits that it brings to
        external memory.
        """
        code = self._computing([each for each in operations if each.kind is not Kind.CHOOSE], following)
        pen = _Pen(self.config, self.number.values, code)
        computed = pen.last + 1
        if following is not None:
            if following.weights:
                pen.follow(0, code[0])
            if following.constants:
                pen.until(max(pen.free, computed))
                pen.move(self._move(Place.MEM, following.weights, self.layout.segment, following.constants))
            adds = [*adds, ("far", following.weights + following.constants), ("buffer", self.config.wram_depth // 2)]
        pen.until(computed)
        if leaves:
            pen.until(max(pen.free, computed))
            pen.move(self._op(Op.MOVE, to=Place.SDRAM, near=self.layout.buffers["logits"], count=leaves,
                              far=self.number.address("results") if self.builder.place.chunks > 1
                              else Address(self.layout.logits_far)))
        for register, value in adds if following is not None else ():
            pen.add(self._add(register, value))
        if following is None:
            pen.until(max(computed, pen.last + 1, pen.free))
            if self.config.memory.sweep:
                # A run for a prompt reads all rows, too.
                pen.add(self._op(Op.HALT, if_prompt=1))
            pen.add(self._op(Op.TOKEN, target=0))
            pen.until(max(pen.last, pen.free))
            pen.add(self._op(Op.HALT))
            return pen.code
        # A loop takes some cycles between the additions and the next body.
        pen.until(max(pen.free, pen.last + 1, pen.at + issue_cycles(self.config, self._loop(0, 2, 0))))
        return pen.code

    def _move(self, to, offset, near, count):
        return self._op(Op.MOVE, to=to, far=Address(offset, self.number["far"]), near=near, count=count)

    def _computing(self, operations, following):
        """The operations of a body, with the MOVE of the weights that come meanwhile as the first instruction."""
        builder, config = self.builder, self.config
        timeline = Timeline(config, self.number.values)
        if following is not None and following.weights:
            half = Address(config.wram_depth // 2, self.number["buffer"])
            timeline.place(step(self._op(Op.MOVE, to=Place.WRAM, far=Address(0, self.number["far"]), near=half,
                                         count=following.weights)))
        kinds = [operation.kind for operation in operations]
        first = kinds.index(Kind.SCORES) + 1 if Kind.SCORES in kinds else len(kinds)
        steps = [each for operation in operations[:first] for each in self._steps(operation)]
        head = timeline.schedule([*paced(builder, operations), *steps])
        if first == len(kinds) and Kind.SCORES not in kinds:
            return lay_out(config, head.moved())
        behind = [each for each in operations[first:] if each.kind not in (Kind.SOFTMAX, Kind.VALUES)]
        tail = behind_attention(builder).schedule([*paced(builder, behind), *(
            each for operation in behind for each in self._steps(operation))])
        return lay_out(config, head.moved()) + self.attention.program(tail.first_issue) + lay_out(config, tail.moved())

    def _steps(self, operation):
        """The steps of an operation, with those around it that a model in external memory needs."""
        builder = self.builder
        builder.operation = operation
        if operation.kind in TAKE_FROM_SEGMENT:
            return TAKE_FROM_SEGMENT[operation.kind](builder, operation)
        if operation.kind in (Kind.ROTATE, Kind.SPLIT):
            return [*heads.cache_values(builder), *steps_of(builder, operation)]
        steps = steps_of(builder, operation)
        if operation.kind is Kind.NORM and operation in builder.graph.end:
            steps.append(choice.scale(builder, builder.graph.find("classifier")))
        return steps


class _Pen:
    """Writes instructions behind others, and knows their cycles.

    `code`: the instructions. `at`: the cycle of the next issue. `last`: the last cycle in which something but a MOVE uses
    a unit. `free`: the first cycle in which a MOVE may issue.
    """

    def __init__(self, config, registers, code):
        self.config, self.code, self.last, self.free = config, [], 0, 0
        self._state = State.of(config, 0, position=0, count=1, token=0)
        self._state.cycle = 0
        self._state.registers = [0] + [registers.get(number, 0) for number in range(1, len(self._state.registers))]
        for instruction in code:
            self.add(instruction)

    @property
    def at(self) -> int:
        return self._state.cycle

    def add(self, instruction: Instruction) -> None:
        """Writes an instruction."""
        self._state.pc = 0
        issue = self._state.next_issue([instruction])
        if issue.op not in (Op.LOOP, Op.TOKEN, Op.HALT):
            self._state.execute(issue, lambda: 0)
        self.code.append(instruction)
        moving = issue.op is Op.MOVE
        for use in uses(self.config, issue):
            self.last = max(self.last, int(use.cycles[-1]) if not moving else 0)

    def move(self, instruction: Instruction) -> None:
        """Writes a MOVE; `free` and `last` follow it."""
        self.add(instruction)
        self.follow(self.at - issue_cycles(self.config, instruction), instruction)

    def follow(self, issued: int, move: Instruction) -> None:
        """Lets `free` and `last` follow a MOVE that issues in a cycle."""
        self.free = issued + Dram.plan(self.config).busy(move["count"])
        operands = move.operands | {"far": 0, "near": 0}
        self.last = max(self.last, *(int(use.cycles[-1]) for use in uses(self.config, Issue(issued, 0, move, operands))))

    def until(self, cycle: int) -> None:
        """Waits, so that the next issue is in this cycle or later."""
        most, nop = (1 << WAIT_BITS) - 1, next_issue(self.config, Op.NOP)
        while (left := cycle - self.at) > 0:
            wait = min(max(left - nop, 0), most)
            self.add(Instruction(Op.NOP, wait, {"turns": 0, "blocks": 0}))


def _shortened(config, code, cycles):
    """Code whose last instruction, a NOP, waits so many cycles less."""
    last = code[-1]
    left = issue_cycles(config, last) - cycles
    if last.op is not Op.NOP or left < 0:
        raise ValueError(f"{last} has no {cycles} cycles to spare")
    if left < next_issue(config, Op.NOP):
        return code[:-1]
    return [*code[:-1], replace(last, wait=last.wait - cycles)]
