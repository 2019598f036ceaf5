"""The compiler of feed-forward networks: from the integers of a network to a checked program."""

import numpy as np

from ...hdl.sequencer.sequencer import Sequencer
from ...hdl.spec.config import Config
from ...hdl.spec.isa import EncodingError, Op, isa_of
from ...hdl.timing import Unit, check
from ...hdl.vxm.vxm import Vxm
from ..model.graph import Kind
from ..program.image import Image
from ..program.program import Program
from ..quant.network import QuantisedNetwork
from .emit import lay_out
from .fill import place
from .layout import CompileError
from .network_kernels import NetworkBuilder, steps_of
from .network_layout import HIGH, LOW, NetworkLayout, lay_out_network
from .schedule import Timeline
from .steps import IN_ORDER, After, step

RELU = {LOW: -32767, HIGH: 32767}
"""The constants of a ReLU, by name; see `network_golden.relu`."""


def compile_network(model: QuantisedNetwork, config: Config, name: str = "") -> tuple[Program, NetworkLayout]:
    """Lowers, schedules and checks a network for a configuration; returns its program and its layout.

    The host writes the input to MEM, starts the program at instruction 0 for no token, and reads
    the result. CompileError if the tile cannot run the network.
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
    check(config, code, count=0)
    weights, constants = _fill(model, layout)
    image = Image(code, weights, constants, granule=layout.first_constant)
    return Program(config, image, name=name, sections={0: "network"}, network=model.network), layout


def _lower(model, layout):
    config = layout.config
    builder, timeline = NetworkBuilder(model, layout), Timeline(config, {})
    for operation in model.network.operations:
        timeline.schedule(steps_of(builder, operation))
    halt = step(isa_of(config).make(Op.HALT),
                after=(After(Unit.VXM_BEAT, Vxm.ending_cycles(config) - Sequencer.HALT_CYCLES), *IN_ORDER))
    return lay_out(config, timeline.schedule([halt]).moved())


def _fill(model, layout):
    """The contents of W-RAM, and the constants in MEM from granule `layout.first_constant` on."""
    config = layout.config
    weights = np.zeros((layout.words, config.cols, config.rows), np.int8)
    values = np.zeros((layout.granules - layout.first_constant, config.lanes), np.int16)

    def put(name, vector):
        values.reshape(-1)[(layout.constants[name] - layout.first_constant) * config.lanes :][
            : vector.size
        ] = vector

    for operation in model.network.operations:
        match operation.kind:
            case Kind.LINEAR:
                linear, matrix = model.linears[operation.name], layout.matrices[operation.name]
                weights[matrix.word:][:matrix.words] = place(config, linear.weight, matrix)
                put(operation.name, linear.factors[0])
                for name in operation.bias:
                    put(name, linear.bias)
            case Kind.NORM:
                for name in (operation.name, *operation.bias):
                    put(name, model.vectors[name])
    for name, value in RELU.items():
        if name in layout.constants:
            put(name, np.full(config.lanes, value))
    return weights, values
