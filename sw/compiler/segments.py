"""A streamed model's program: each section of the graph has its own instructions, which end with a
HALT."""

from ...hdl.sequencer.sequencer import Sequencer
from ...hdl.spec.isa import Instruction, Op, Source
from ...hdl.vxm.vxm import Vxm
from ..model.graph import Kind, Operation
from ..program.stream import Section
from ..quant.outline import Outline
from .attention import Attention
from .builder import Builder, log2
from .emit import lay_out
from .kernels import choice, embedding, heads, steps_of
from .layout import CompileError
from .placement import Streamed
from .resident import Code, behind_attention, count_blocks, paced
from .schedule import Timeline
from .steps import IN_ORDER, ORIGIN, After, Step, step
from .streamed import StreamedLayout

TAKE_FROM_SEGMENT = {Kind.EMBED: embedding.take_row, Kind.POSITION: embedding.take_position,
                     Kind.ANGLES: embedding.take_angles}
"""Kernels of the operations before the layers, by kind. The host has put the tables' rows into the
segment."""


def lower_streamed(layout: StreamedLayout, outline: Outline) -> tuple[Code, dict[tuple[str, ...], int]]:
    """The program of a streamed model, and {steps of a section: number of its first instruction}.

    CompileError if it does not fit the program memory.
    """
    placement = Streamed(layout)
    lowering = _Sections(Builder(layout, outline, placement), placement)
    program, entries = [], {}
    for section in layout.sections:
        entries[section.steps] = len(program)
        program += lowering.section(section)
    if len(program) > layout.config.program_depth:
        raise CompileError(f"streamed, the program has {len(program)} instructions, and {layout.config.name} has room for "
                           f"{layout.config.program_depth}: choose a larger configuration")
    return Code(program, {entry: ", ".join(steps) for steps, entry in entries.items()}), entries


class _Sections:
    """Makes the instructions of sections, one section after another; sets `placement.chunks` for
    each."""

    def __init__(self, builder: Builder, placement: Streamed):
        self.builder, self.placement, self.attention = builder, placement, Attention(builder)

    def section(self, section: Section) -> list[Instruction]:
        """The instructions of a section, from its first to its HALT."""
        builder, config = self.builder, self.builder.config
        self.placement.chunks = section.chunks
        operations = [builder.graph.find(step) for step in section.steps]
        timeline = Timeline(config, builder.registers.values)
        kinds = [operation.kind for operation in operations]
        first = kinds.index(Kind.SCORES) + 1 if section.cached else len(kinds)
        steps = [step for operation in operations[:first] for step in self._steps(operation)]
        head = timeline.schedule([*paced(builder, operations), *self._registers(section), *steps])
        if not section.cached:
            return lay_out(config, self._halted(head).moved())
        behind = [operation for operation in operations[first:] if operation.kind not in (Kind.SOFTMAX, Kind.VALUES)]
        tail = behind_attention(builder).schedule(step for operation in behind for step in self._steps(operation))
        tail = self._halted(tail)
        attention = self.attention.program(tail.first_issue)
        return lay_out(config, head.moved()) + attention + lay_out(config, tail.moved())

    def _registers(self, section):
        """Steps that compute the registers "buffer" and "results" from the operand of the START,
        see `Stream.operand`."""
        builder, layout, config = self.builder, self.builder.layout, self.builder.config
        steps = []
        if section.words:
            steps.append(builder.index("buffer", Source.TOKEN, 0, layout.room, layout.buffer, bits=1))
        if section.chunks > 1:
            results = next(layout.matrices[step].results for step in section.steps if step in layout.matrices)
            times, bits = results * config.beats_per_result, 0
            steps.append(builder.index("results", Source.TOKEN, 1, times, 0, bits=bits))
        return steps

    def _steps(self, operation: Operation) -> list[Step]:
        """The steps of an operation; around some kernels a streamed program needs more steps than a
        resident one."""
        builder = self.builder
        builder.operation = operation
        if operation.kind in TAKE_FROM_SEGMENT:
            return TAKE_FROM_SEGMENT[operation.kind](builder, operation)
        if operation.kind in (Kind.ROTATE, Kind.SPLIT):
            return [*self._cache_registers(), *steps_of(builder, operation)]
        steps = steps_of(builder, operation)
        if operation.kind is Kind.NORM and operation in builder.graph.end:
            steps.append(choice.scale(builder, builder.graph.find("classifier")))
        return steps

    def _cache_registers(self):
        """Steps that compute the registers of the KV cache, and then write the values, which are in
        MEM, to the cache."""
        builder, layout, config = self.builder, self.builder.layout, self.builder.config
        rows, cols = (log2(size // layout.cell) + 1 for size in (config.rows, config.cols))
        layer = log2(layout.cells) + 1
        key_granules = layout.head // config.rows * config.granules_per_word
        steps = [builder.index(register, Source.TOKEN, right, times, builder.registers.value(register), after=())
                 for register, right, times in (("value", rows, config.beats_per_result), ("key", cols, key_granules),
                                                ("keys", layer, layout.key_words), ("values", layer, layout.value_words))]
        steps += count_blocks(builder, self.attention)
        return steps + heads.cache_values(builder)

    def _halted(self, timeline):
        """Places a HALT in the first cycle in which all that the run has begun is done when the run
        ends; returns the timeline."""
        config = self.builder.config
        done = max([Vxm.ending_cycles(config)] + [int(use.cycles[-1]) for cycle, instruction in timeline.placed
                                                  for use in timeline.uses(instruction, cycle)])
        halt = step(self.builder.op(Op.HALT), after=(After(ORIGIN, done - Sequencer.HALT_CYCLES), *IN_ORDER))
        return timeline.schedule([halt])
