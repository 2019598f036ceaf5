"""The compiler from end to end: from a float or a quantised model to a checked program."""

from dataclasses import replace

import numpy as np

from ...hdl.spec.config import Config
from ...hdl.spec.isa import EncodingError
from ..model.model import Model
from ..program.image import Image
from ..program.program import ModelFacts, Program
from ..program.verified import verify_once
from ..quant.model import QuantisedModel
from ..quant.outline import Outline
from ..quant.quantise import quantise
from ..text.tokenizer import Tokenizer
from .cache_regions import check_cache
from .decisions import Decisions, Scheduled
from .external import ExternalLayout
from .fill import constants_start, fill
from .fill_streamed import fill_stream, stream, tables_of
from .integers import integers_for
from .layout import CompileError, Layout
from .overlapped import lower_block, lower_external
from .plan import lay_out_model
from .resident import Code, lower
from .segments import lower_streamed, lower_streamed_block
from .slots import NoBlock
from .streamed import StreamedLayout


def compile_model(model: Model, config: Config, tokenizer: Tokenizer | None = None, name: str = "") -> Program:
    """Quantises a float model and compiles it for a configuration; see `compile_quantised` and
    `integers_for`."""
    return compile_quantised(quantise(model, **integers_for(config, model.config, model)), config, tokenizer, name)


def compile_quantised(model: QuantisedModel, config: Config, tokenizer: Tokenizer | None = None,
                      name: str = "", context: int | None = None, scheduled: Scheduled | None = None) -> Program:
    """Lowers, schedules and checks an integer model for a configuration.

    The program is resident if the model fits into the tile, else streamed. `tokenizer`, `name`: are
    kept in the program. `context`: the positions that it must have room for, see `lay_out_model`. `scheduled`: what was
    scheduled for this configuration before the integers were known.
    CompileError if the model can be neither.
    """
    outline = Outline.of(model)
    layout = lay_out_model(config, outline, context)
    decisions = scheduled and scheduled.again(outline, layout.context)
    program = _filled(replace(schedule(layout, outline, decisions), name=name, tokenizer=tokenizer), layout, model)
    check_cache(program, layout)
    verify_once(program)
    return program


def schedule(layout: Layout, outline: Outline, decisions: Decisions | None = None) -> Program:
    """A model's program with all its instructions, but without weights and constants: its cycles
    are final. `decisions`: of the timelines of a resident model.

    CompileError if it does not fit the program memory, or if a number does not fit its field in an
    instruction.
    """
    try:
        return _schedule(layout, outline, decisions)
    except EncodingError as error:
        name = layout.config.name
        raise CompileError(f"a number is too large for an instruction of {name}: {error}") from None


def _schedule(layout, outline, decisions):
    config, shape = layout.config, outline.config
    facts = ModelFacts(shape=shape, context=min(layout.context, shape.seq_len), words=layout.words, granules=layout.granules,
                       logits=layout.buffers["logits"], scale=layout.buffers["scale"], logit_unit=1.0)
    weights, constants = np.zeros((0, config.cols, config.rows), np.int8), np.zeros((0, config.lanes), np.int16)
    if not isinstance(layout, StreamedLayout):
        code = lower(layout, outline, decisions)
        return Program(config, Image(code.instructions, weights, constants), model=facts, sections=code.sections,
                       entries=code.entries)
    external, block, no_block = isinstance(layout, ExternalLayout), None, ""
    code, entries = (lower_external(layout, outline), {}) if external else lower_streamed(layout, outline)
    try:
        more, block = (lower_block if external else lower_streamed_block)(layout, outline, len(code.instructions))
        code = Code(code.instructions + more.instructions, code.sections | more.sections)
    except NoBlock as reason:
        no_block = str(reason)
    program = Program(config, Image(code.instructions, weights, constants), model=facts, sections=code.sections,
                      stream=stream(layout, entries, weights, constants, block, no_block))
    program.check_retention()
    return program


def _filled(program, layout, model):
    """The scheduled program, filled with the weights and constants of its model."""
    program = replace(program, model=replace(program.model, logit_unit=model.logit_unit, quality=model.quality))
    if program.stream is None:
        weights, constants = fill(layout, model)
        return replace(program, image=replace(program.image, weights=weights, constants=constants,
                                              granule=constants_start(layout)))
    weights, constants, stay = fill_stream(layout, model)
    filled = replace(program.stream, weights=weights, constants=constants, embedding=model.embedding,
                     factors=np.ascontiguousarray(model.embedding_factors.T), **tables_of(layout, model))
    return replace(program, image=replace(program.image, constants=stay), stream=filled)
