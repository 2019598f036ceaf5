"""The layout of a feed-forward network: where its matrices, constants and values lie in W-RAM and MEM.

A value is kept from the operation that makes it to the last one that reads it; then another one
takes its place.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ...hdl.spec.config import Config
from ..model.graph import Kind, Number
from ..model.network import Network
from .builder import ABSMAX
from .layout import CompileError
from .matrix import Matrix

FACTORS, NORM = ".factors", ".norm"
"""Suffixes in the names of what an operation keeps while it runs: a LINEAR's factors times the
scalar of its input; the scalar registers of a NORM."""
LOW, HIGH = "relu low", "relu high"
"""Constants of a ReLU."""
SCALARS = 2
"""Scalar registers of a QUANTISE, the factor and the step; and of a NORM, whose upper registers are
two, too."""


@dataclass(frozen=True)
class NetworkLayout:
    """Addresses of a network. Those in MEM count granules, those in W-RAM words.

    `matrices`: by operation. `buffers`: of values, and of factors (see `FACTORS`). `constants`: the
    factors of a LINEAR and the gains of a NORM by the operation's name, biases by their own. They
    begin at granule `first_constant`, behind the buffers. `scalars`: the first of two scalar
    registers in the upper half, by the name of a QUANTISE or a NORM. `words`, `granules`: all that
    the network takes.
    """

    config: Config
    network: Network
    matrices: Mapping[str, Matrix]
    buffers: Mapping[str, int]
    constants: Mapping[str, int]
    scalars: Mapping[str, int]
    first_constant: int
    words: int
    granules: int

    def granules_of(self, channels: int) -> int:
        """Granules of a vector in MEM, which is padded with zeros to a multiple of the block."""
        return padded_granules(self.config, channels)


def padded_granules(config: Config, channels: int) -> int:
    """See `NetworkLayout.granules_of`."""
    return -(-channels // config.block) * config.block // config.lanes


def lay_out_network(config: Config, network: Network) -> NetworkLayout:
    """The layout of an integer network. CompileError if the tile cannot run it."""
    _check_tile(config, network)
    matrices, word = {}, 0
    for operation in network.of_kind(Kind.LINEAR):
        inputs, outputs = (padded_granules(config, size) * config.lanes
                           for size in (network.values[operation.inputs[0]].size, operation.output.size))
        matrices[operation.name] = Matrix(word, inputs // config.rows, outputs // config.cols)
        word += matrices[operation.name].words
    buffers, end = _packed({name: (*_life(network, name), padded_granules(config, size))
                            for name, size in _kept(network).items()})
    constants, at = {}, end
    for name, channels in _constants(config, network).items():
        constants[name] = at
        at += padded_granules(config, channels)
    scalars, used = _packed({operation.name: (*_life(network, operation.output.name), SCALARS)
                             for operation in network.of_kind(Kind.QUANTISE, Kind.NORM)})
    upper = config.scalars // 2
    if word > config.wram_depth or at > config.granules or upper + used > config.scalars:
        raise CompileError(
            f"the network needs {word} W-RAM words, {-(-at // config.granules_per_word)} MEM words and "
            f"{2 * used} scalar registers, and {config.name} has {config.wram_depth}, {config.mem_depth} and "
            f"{config.scalars}: choose a larger configuration"
        )
    return NetworkLayout(
        config,
        network,
        matrices,
        buffers,
        constants,
        {name: upper + at for name, at in scalars.items()},
        end,
        word,
        at,
    )


def _check_tile(config, network):
    functions = {operation.function for operation in network.of_kind(Kind.ACTIVATE)}
    widest = max(
        (network.values[operation.inputs[0]].size for operation in network.of_kind(Kind.LINEAR)), default=1
    )
    longest = max(operation.output.size for operation in network.operations)
    for missing, what in (
        (config.weight_bits != 8, "weights need 8 bits"),
        (not config.whole, "all of MEM must be readable"),
        (functions & {"gelu", "gelu_erf"} and not config.gelu, "GELU needs its table: gelu=1"),
        (
            widest << 14 >= 1 << config.accumulator_bits - 1,
            f"dot products of {widest} values need more than {config.accumulator_bits} bits",
        ),
        (longest > 1 << 15, f"a vector has {longest} values, and at most 32768 can be measured"),
        (config.scalars // 2 <= ABSMAX + 2, "a network needs more scalar registers"),
    ):
        if missing:
            raise CompileError(f"{config.name} cannot run the network: {what}: choose another configuration")


def _kept(network):
    """{name: channels} of what has a place in MEM: values, and factors while a LINEAR runs."""
    found = {name: value.size for name, value in network.values.items() if value.number is not Number.INDEX}
    return found | {f"{each.name}{FACTORS}": each.output.size for each in network.of_kind(Kind.LINEAR)}


def _constants(config, network):
    """{name: channels} of the constants in MEM."""
    found = {}
    for operation in network.operations:
        if operation.kind in (Kind.LINEAR, Kind.NORM):
            found[operation.name] = operation.output.size
            found |= dict.fromkeys(operation.bias, operation.output.size)
    relus = any(operation.function == "relu" for operation in network.of_kind(Kind.ACTIVATE))
    return found | ({LOW: config.lanes, HIGH: config.lanes} if relus else {})


def _life(network, name):
    """(first, last) number of an operation while something is kept."""
    numbers = {operation.name: number for number, operation in enumerate(network.operations)}
    if name.endswith(FACTORS):
        return (numbers[name.removesuffix(FACTORS)],) * 2
    made = network.producer(name)
    first = 0 if made is None or made.kind is Kind.EMBED else numbers[made.name]
    last = max([first, *(numbers[reader.name] for reader in network.readers(name))])
    return first, len(numbers) if name == network.result.name else last


def _packed(lives: Mapping[str, tuple[int, int, int]]) -> tuple[dict[str, int], int]:
    """({name: first place}, the end of all) for things of (first, last, size): each at the first
    place that is free from `first` to `last`."""
    places: dict[str, int] = {}
    for name, (first, last, size) in sorted(lives.items(), key=lambda item: (item[1][0], -item[1][2])):
        taken = sorted((places[other], places[other] + lives[other][2]) for other in places
                       if lives[other][0] <= last and first <= lives[other][1])
        at = 0
        for start, end in taken:
            if at + size <= start:
                break
            at = max(at, end)
        places[name] = at
    return places, max((places[name] + lives[name][2] for name in places), default=0)
