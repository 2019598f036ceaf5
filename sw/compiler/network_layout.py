"""The layout of a network: where its matrices, its KV cache, its constants and values lie in W-RAM and MEM.

A value is kept from the operation that makes it to the last one that reads it; then another one
takes its place. The heads of a value are each padded with zeros to a multiple of the block.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...hdl.spec.config import Config
from ..model.graph import Kind, Number, Value
from ..model.network import Network
from .builder import ABSMAX, REDUCED
from .layout import CompileError
from .matrix import Matrix
from .network_attention import KEYS, QUERIES, VALUES, AttentionLayout

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
    factors of a LINEAR and the gains of a NORM by the operation's name, biases by their own, the
    factors of an attention by the name of its SCORES with a suffix or of its VALUES. They begin at
    granule `first_constant`, behind the buffers. `scalars`: the first of the scalar registers in
    the upper half, by the name of a QUANTISE or a NORM, which have two, or of a SOFTMAX, which has
    one for each head. `attentions`: by the name of a SCORES. `words`, `granules`: all that the
    network takes.
    """

    config: Config
    network: Network
    matrices: Mapping[str, Matrix]
    buffers: Mapping[str, int]
    constants: Mapping[str, int]
    scalars: Mapping[str, int]
    attentions: Mapping[str, AttentionLayout]
    first_constant: int
    words: int
    granules: int

    def granules_of(self, value: Value) -> int:
        """Granules of a vector in MEM, which is padded with zeros, head by head if it has heads, to
        a multiple of the block."""
        return padded_granules(self.config, value)

    def arranged(self, vectors: np.ndarray, value: Value) -> np.ndarray:
        """Vectors [..., channels] of a value as they lie in MEM: [..., granules * lanes]."""
        heads = max(1, value.heads)
        by_head = vectors.reshape(*vectors.shape[:-1], heads, -1)
        room = self.granules_of(value) * self.config.lanes // heads
        padding = [(0, 0)] * (by_head.ndim - 1) + [(0, room - by_head.shape[-1])]
        return np.pad(by_head, padding).reshape(*vectors.shape[:-1], -1)

    def channels(self, read: np.ndarray, value: Value) -> np.ndarray:
        """The inverse of `arranged`."""
        heads = max(1, value.heads)
        by_head = read.reshape(*read.shape[:-1], heads, -1)
        return by_head[..., :value.size // heads].reshape(*read.shape[:-1], value.size)


def padded_granules(config: Config, value: Value) -> int:
    """See `NetworkLayout.granules_of`."""
    heads = max(1, value.heads)
    return heads * -(-value.size // heads // config.block) * config.block // config.lanes


def lay_out_network(config: Config, network: Network) -> NetworkLayout:
    """The layout of an integer network. CompileError if the tile cannot run it."""
    _check_tile(config, network)
    values, matrices, word = network.values, {}, 0
    for operation in network.of_kind(Kind.LINEAR):
        inputs, outputs = (padded_granules(config, value) * config.lanes
                           for value in (values[operation.inputs[0]], operation.output))
        matrices[operation.name] = Matrix(word, inputs // config.rows, outputs // config.cols)
        word += matrices[operation.name].words
    attentions = {}
    for scores in network.of_kind(Kind.SCORES):
        head = padded_granules(config, values[scores.inputs[0]]) * config.lanes // scores.output.heads
        context = -(-network.positions // config.block) * config.block
        attentions[scores.name] = AttentionLayout(config, scores.output.heads, head, context, word)
        word = attentions[scores.name].end
    buffers, end = _packed({name: (*_life(network, name), granules)
                            for name, granules in _kept(config, network, attentions).items()})
    constants, at = {}, end
    for name, granules in _constants(config, network).items():
        constants[name] = at
        at += granules
    scalars, used = _packed(
        {operation.name: (*_life(network, operation.output.name), SCALARS)
         for operation in network.of_kind(Kind.QUANTISE, Kind.NORM)}
        | {softmax.name: (*_life(network, scores.output.name), scores.output.heads)
           for scores, softmax, _ in network.attentions()})
    upper = config.scalars // 2
    most_heads = max((each.n_heads for each in attentions.values()), default=0)
    needed = max(used, REDUCED + 2 * most_heads if most_heads else 0)
    if word > config.wram_depth or at > config.granules or needed > upper:
        raise CompileError(
            f"the network needs {word} W-RAM words, {-(-at // config.granules_per_word)} MEM words and "
            f"{2 * needed} scalar registers, and {config.name} has {config.wram_depth}, {config.mem_depth} "
            f"and {config.scalars}: choose a larger configuration"
        )
    scalars = {name: upper + at for name, at in scalars.items()}
    return NetworkLayout(config, network, matrices, buffers, constants, scalars, attentions, end, word, at)


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
        (config.compact and len({(each.output.heads, network.values[each.inputs[0]].size)
                                 for each in network.of_kind(Kind.SCORES)}) > 1,
         "a compact tile needs attentions of one shape"),
    ):
        if missing:
            raise CompileError(f"{config.name} cannot run the network: {what}: choose another configuration")


def _kept(config, network, attentions):
    """{name: granules} of what has a place in MEM: values, factors while a LINEAR runs, int8 queries
    while a SCORES runs."""
    values = network.values
    found = {name: padded_granules(config, value) for name, value in values.items()
             if value.number is not Number.INDEX}
    found |= {f"{each.name}{FACTORS}": padded_granules(config, each.output)
              for each in network.of_kind(Kind.LINEAR)}
    for scores, softmax, _ in network.attentions():
        layout = attentions[scores.name]
        found[f"{scores.name}{QUERIES}"] = found[scores.inputs[0]]
        found[scores.output.name] = layout.n_heads * layout.in_granules(layout.context)
        # The exponentials take the place of the scores.
        del found[softmax.output.name]
    return found


def _constants(config, network):
    """{name: granules} of the constants in MEM."""
    found = {}
    for operation in network.operations:
        if operation.kind in (Kind.LINEAR, Kind.NORM):
            granules = padded_granules(config, operation.output)
            found |= dict.fromkeys((operation.name, *operation.bias), granules)
    for scores, _, values in network.attentions():
        (queries, keys), (_, cached) = scores.inputs, values.inputs
        for suffix, name in ((QUERIES, queries), (KEYS, keys), (VALUES, cached)):
            found[scores.name + suffix] = padded_granules(config, network.values[name])
        found |= {scores.name: scores.output.heads, values.name: padded_granules(config, values.output)}
    relus = any(operation.function == "relu" for operation in network.of_kind(Kind.ACTIVATE))
    return found | ({LOW: 1, HIGH: 1} if relus else {})


def _life(network, name):
    """(first, last) number of an operation while something is kept."""
    numbers = {operation.name: number for number, operation in enumerate(network.operations)}
    for suffix in (FACTORS, QUERIES):
        if name.endswith(suffix) and name.removesuffix(suffix) in numbers:
            return (numbers[name.removesuffix(suffix)],) * 2
    made = network.producer(name)
    first = 0 if made is None or made.kind is Kind.EMBED else numbers[made.name]
    last = max([first, *(numbers[reader.name] for reader in network.readers(name))])
    if made is not None and made.kind is Kind.SCORES:
        last += 1  # they stay for the VALUES behind the SOFTMAX
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
