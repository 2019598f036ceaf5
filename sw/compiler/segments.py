"""A streamed model's program: each section of the graph has its own instructions, which end with a
HALT."""

from ...hdl.sequencer.sequencer import Sequencer
from ...hdl.spec.isa import EncodingError, Instruction, Op, Source
from ...hdl.vxm.vxm import Vxm
from ..model.graph import Kind, Operation
from ..program.stream import Block, Section
from ..quant.outline import Outline
from .attention import Attention
from .blocked import in_slot, kept_output
from .builder import Builder, log2
from .emit import lay_out
from .kernels import choice, embedding, heads, steps_of
from .layout import CompileError
from .placement import Streamed
from .resident import Code, behind_attention, count_blocks, paced
from .schedule import Timeline
from .slots import MOST_POSITIONS, NoBlock, with_most_slots
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


def lower_streamed_block(layout: StreamedLayout, outline: Outline, origin: int) -> tuple[Code, Block]:
    """The sections' programs for a block of a prompt's positions, each with a run for every position, from instruction
    `origin` on. NoBlock if MEM or the program memory has no room, or if there are too many results for a START's operand.

    A block has as many positions as MEM has room for, up to `MOST_POSITIONS`.
    """
    config, blocked = layout.config, with_most_slots(layout, min(MOST_POSITIONS, layout.context), layout.dim)
    slots, sections = blocked.slots, (layout.begin, *layout.layer_sections)
    placement, program, entries = Streamed(blocked), [], []
    lowering = _Sections(Builder(blocked, outline, placement), placement)
    chunk_results = tuple(max((blocked.matrices[step].results for step in section.steps if step in blocked.matrices), default=0)
                          for section in sections)
    most = max(section.chunks * results for section, results in zip(sections, chunk_results, strict=True))
    if most + slots.positions * slots.stride // config.beats_per_result >= 1 << config.token_bits - 1:
        raise NoBlock("there are more results than the operand of a START can count: choose a smaller mem_depth")
    try:
        for section in sections:
            code = lowering.section(section)
            entries.append(origin + len(program) if code else -1)
            program += code
    except EncodingError:
        raise NoBlock("a slot is further away than an instruction can say: choose a smaller mem_depth") from None
    if (needed := origin + len(program)) > config.program_depth:
        raise NoBlock(f"the program would have {needed} instructions, and {config.name} has room for {config.program_depth}: "
                      "choose a larger program_depth")
    norms = [[step for step in section.steps if step in layout.norms] for section in sections]
    gains = (*(layout.layer[names[-1]] if names else -1 for names in norms), layout.in_granules(layout.dim),
             blocked.buffers["gains"])
    names = {entry: f"block: {section.name}" for entry, section in zip(entries, sections, strict=True) if entry >= 0}
    return Code(program, names), Block(slots.positions, origin, slots.begin, slots.stride, tuple(entries), chunk_results, gains)


class _Sections:
    """Makes the instructions of sections, one section after another; sets `placement.chunks` and `placement.steps`
    for each."""

    def __init__(self, builder: Builder, placement: Streamed):
        self.builder, self.placement, self.attention = builder, placement, Attention(builder)
        self.slots = builder.layout.slots

    def section(self, section: Section) -> list[Instruction]:
        """The instructions of a section, from its first to its HALT; in a block, none if there is nothing to do."""
        builder, config = self.builder, self.builder.config
        self.placement.chunks, self.placement.steps = section.chunks, section.steps
        operations = [builder.graph.find(step) for step in section.steps]
        timeline = Timeline(config, builder.registers.values)
        kinds = [operation.kind for operation in operations]
        first = kinds.index(Kind.SCORES) + 1 if section.cached else len(kinds)
        steps = self._all(operations[:first])
        if not steps:
            return []
        head = timeline.schedule([*paced(builder, operations), *self._registers(section), *steps])
        if not section.cached:
            return lay_out(config, self._halted(head).moved())
        behind = [operation for operation in operations[first:] if operation.kind not in (Kind.SOFTMAX, Kind.VALUES)]
        kept = kept_output(builder) if self.slots and Kind.LINEAR not in {each.kind for each in behind} else []
        tail = behind_attention(builder, self.attention).schedule([*kept, *self._all(behind, Kind.VALUES)])
        tail = self._halted(tail)
        attention = self.attention.program(tail.first_issue)
        return lay_out(config, head.moved()) + attention + lay_out(config, tail.moved())

    def _all(self, operations, made=None):
        """The steps of operations. `made`: the kind of an operation of the section before them."""
        if self.slots:
            return in_slot(self.builder, operations, made, self._steps)
        return [step for operation in operations for step in self._steps(operation)]

    def _registers(self, section):
        """Steps that compute the registers "buffer" and "results" from the operand of the START, see `Stream.operand`
        and `Stream.block_operand`, and in a block "slot" from the position."""
        builder, layout, config = self.builder, self.builder.layout, self.builder.config
        steps = []
        if section.words:
            steps.append(builder.index("buffer", Source.TOKEN, 0, layout.room, layout.buffer, bits=1))
        if section.chunks > 1:
            results = next(layout.matrices[step].results for step in section.steps if step in layout.matrices)
            times = config.beats_per_result if self.slots else results * config.beats_per_result
            steps.append(builder.index("results", Source.TOKEN, 1, times, 0))
        if self.slots:
            steps.append(builder.index("slot", Source.POSITION, 0, self.slots.stride, 0, bits=log2(self.slots.positions)))
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
