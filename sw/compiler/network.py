"""The compiler of networks: from the integers of a network to a checked program.

A network with attention is a program for one position of a sequence. Its operations up to the scores
of an attention, and those behind it, are sections with a timeline each, as those of a token are; see
`resident.py`.
"""

import numpy as np

from ...hdl.sequencer.sequencer import Sequencer
from ...hdl.spec.config import Config
from ...hdl.spec.isa import EncodingError, Op, isa_of
from ...hdl.timing import Prover, Unit, check, check_addresses
from ...hdl.vxm.vxm import Vxm
from ..model.graph import Kind
from ..program.image import Image
from ..program.program import Program
from ..quant.network import QuantisedNetwork
from .attention import Attention
from .emit import lay_out
from .fill import place
from .layout import CompileError
from .network_attention import KEY, KEYS, QUERIES, VALUE, VALUES, index_steps
from .network_kernels import NetworkBuilder, steps_of
from .network_layout import HIGH, LOW, NetworkLayout, lay_out_network
from .registers import Registers
from .schedule import Timeline
from .steps import IN_ORDER, After, step

RELU = {LOW: -32767, HIGH: 32767}
"""The constants of a ReLU, by name; see `network_golden.relu`."""


def compile_network(model: QuantisedNetwork, config: Config, name: str = "") -> tuple[Program, NetworkLayout]:
    """Lowers, schedules and checks a network for a configuration; returns its program and its layout.

    The host writes the input to MEM, starts the program at instruction 0 for no token, at the
    position of the vector in its sequence, and reads the result. CompileError if the tile cannot run
    the network.
    """
    layout = lay_out_network(config, model.network)
    try:
        code = _lower(model, layout)
    except EncodingError as error:
        raise CompileError(f"a number is too large for an instruction of {config.name}: {error}") from None
    if len(code) > config.program_depth:
        raise CompileError(
            f"the program has {len(code)} instructions, and {config.name} has room for "
            f"{config.program_depth}: "
            "choose a larger configuration"
        )
    _check(config, code, model.network)
    weights, constants = _fill(model, layout)
    image = Image(code, weights, constants, granule=layout.first_constant)
    return Program(config, image, name=name, sections={0: "network"}, network=model.network), layout


def _check(config, code, network):
    """ProgramError if the program breaks a rule at a position."""
    if not network.positions:
        check(config, code, count=0)
        return
    prover, last = Prover(config, code), network.positions - 1
    check_addresses(config, code, position=last, token=0)
    for first in range(0, network.positions, config.block):
        prover.check(position=min(first + config.block - 1, last), count=0)


def _lower(model, layout):
    config, network = layout.config, model.network
    registers = Registers(dict.fromkeys((KEY, VALUE) if layout.attentions else (), 0))
    builder = NetworkBuilder(model, layout, registers)
    attentions = [Attention(builder.attention(scores), narrow=False)
                  for scores in network.of_kind(Kind.SCORES)]
    timeline, sections = Timeline(config, registers.values), []
    if attentions:
        timeline.schedule(index_steps(config, registers, next(iter(layout.attentions.values())),
                                      attentions[0].counted))
    for operation in network.operations:
        if operation.kind is Kind.VALUES:
            attention, result = attentions[len(sections)], operation.output
            sections.append(timeline)
            timeline = Timeline(config, registers.values, attention.boundary(builder.at(result.name)))
        timeline.schedule(steps_of(builder, operation))
    halt = step(isa_of(config).make(Op.HALT),
                after=(After(Unit.VXM_BEAT, Vxm.ending_cycles(config) - Sequencer.HALT_CYCLES), *IN_ORDER))
    first, *others = [*sections, timeline.schedule([halt])]
    code = lay_out(config, first.moved())
    for attention, section in zip(attentions, others, strict=True):
        code += attention.program(section.first_issue) + lay_out(config, section.moved())
    return code


def _fill(model, layout):
    """The contents of W-RAM, and the constants in MEM from granule `layout.first_constant` on."""
    config = layout.config
    weights = np.zeros((layout.words, config.cols, config.rows), np.int8)
    values = np.zeros((layout.granules - layout.first_constant, config.lanes), np.int16)

    def put(name, vector, value=None):
        vector = layout.arranged(vector, value) if value else vector
        at = (layout.constants[name] - layout.first_constant) * config.lanes
        values.reshape(-1)[at:][:vector.size] = vector

    network = model.network
    for operation in network.operations:
        match operation.kind:
            case Kind.LINEAR:
                linear, matrix = model.linears[operation.name], layout.matrices[operation.name]
                by_input = layout.arranged(linear.weight, network.values[operation.inputs[0]])
                arranged = layout.arranged(by_input.T, operation.output).T
                weights[matrix.word:][:matrix.words] = place(config, arranged, matrix)
                put(operation.name, linear.factors[0], operation.output)
                for name in operation.bias:
                    put(name, linear.bias, operation.output)
            case Kind.NORM:
                for name in (operation.name, *operation.bias):
                    put(name, model.vectors[name], operation.output)
    for scores, _, averaged in network.attentions():
        made = model.attentions[scores.name]
        put(scores.name, np.repeat(made.scores.factors, config.lanes))
        put(averaged.name, made.output.factors, averaged.output)
        queries, keys, cached = *scores.inputs, averaged.inputs[1]
        for suffix, narrowing, name in (
            (QUERIES, made.queries, queries), (KEYS, made.keys, keys), (VALUES, made.values, cached)
        ):
            put(scores.name + suffix, narrowing.factors, network.values[name])
    for name, value in RELU.items():
        if name in layout.constants:
            put(name, np.full(config.lanes, value))
    return weights, values
