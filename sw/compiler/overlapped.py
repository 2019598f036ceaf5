"""The program of a model in external memory: a run a token, in which the next segment comes while the tile computes.

The body of a chunk, with the segment that is there, looks like this on the two::

    bus     | MOVE: weights of the next segment            | MOVE: its constants |
    tile    | the chunk's operations |                     |                     | the next chunk

The constants come when the operations are done, to the place of those that are no longer needed. A body takes
the same number of cycles at each position: attention goes through all blocks of the context, behind those that are
filled with exponentials of 0. A section is the body of its first chunk, a loop, and the body of its last one, which
brings the first segment of the next section; all layers are a loop around their sections.
"""

from ...hdl.spec.isa import EncodingError, Op
from ..program.stream import Block
from ..quant.outline import Outline
from .bodies import Bodies
from .builder import Builder
from .external import ExternalLayout
from .layout import CompileError
from .placement import External
from .resident import Code
from .slots import MOST_POSITIONS, NoBlock, with_most_slots

READER_INSTRUCTIONS = 2
"""Instructions at the end of the program memory that the host uses to read external memory."""


def lower_external(layout: ExternalLayout, outline: Outline) -> Code:
    """The program of a token, at any position of the layout's context; it starts at instruction 0.

    CompileError if it does not fit the program memory.
    """
    bodies = Bodies(Builder(layout, outline, External(layout)))
    end = layout.end_sections
    bodies.begin(bodies.arriving(layout.layer_sections[0]))
    bodies.layers()
    stop = bodies.here
    if not layout.config.memory.sweep:
        bodies.code.append(bodies.op(Op.HALT, if_prompt=1))
    for number, section in enumerate(end):
        bodies.section(section, bodies.arriving(end[number + 1]) if number < len(end) - 1 else None)
    if bodies.here > (room := _room(layout)):
        raise CompileError(f"in external memory, the program has {bodies.here} instructions, and "
                           f"{layout.config.name} has room for {room}: choose a larger program_depth")
    return Code(bodies.code, bodies.sections | {stop: "end"})


def lower_block(layout: ExternalLayout, outline: Outline, origin: int) -> tuple[Code, Block]:
    """The program of a block of a prompt's positions, from instruction `origin` on. NoBlock if MEM or the program memory has
    no room for a block of at least two, if the KV cache lies in external memory, or if moves have no pauses for REFRESH.

    A block has as many positions as MEM has room for, up to `MOST_POSITIONS`, or to a cell of the KV cache if a column's keys
    and a word's values are of different numbers of positions. It begins at a multiple of them. Before it the host puts the
    constants of each position's beginning into its slot.
    """
    config = layout.config
    if layout.far_cache:
        raise NoBlock("the KV cache lies in external memory: choose a smaller --context, or a larger wram_depth")
    if config.memory.sweep:
        raise NoBlock("moves without pauses for REFRESH must read all rows in each run: set sdram_sweep_us to 0")
    layout = with_most_slots(layout, min(MOST_POSITIONS if config.rows == config.cols else layout.cell, layout.context))
    bodies = Bodies(Builder(layout, outline, External(layout)), origin)
    try:
        bodies.begin(bodies.arriving(layout.layer_sections[0]))
        bodies.layers()
    except EncodingError:  # a target is beyond the program memory
        raise NoBlock("their program does not fit the program memory: choose a larger program_depth") from None
    bodies.code.append(bodies.op(Op.HALT))
    if bodies.here > (room := _room(layout)):
        raise NoBlock(f"the program would have {bodies.here} instructions, and {config.name} has room for {room}: choose a "
                      "larger program_depth")
    sections = {number: f"block: {name}" for number, name in bodies.sections.items()}
    return Code(bodies.code, sections), Block(layout.slots.positions, origin, layout.slots.begin, layout.slots.stride)


def _room(layout):
    """Instructions for which the program memory has room."""
    return layout.config.program_depth - READER_INSTRUCTIONS
