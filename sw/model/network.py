"""A network: the operations that turn one vector into another, or a sequence of vectors into another.

It is made of the same operations as the graph of a token (`graph.py`), without layers. Its values are
vectors, and its input is a vector that the host writes, or the row of a table. A network with
attention runs position by position: a position sees itself and those before it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from .graph import LEGAL, GraphError, Kind, Number, Operation, Rule, Value, check_operation

GATES = ("silu", "gelu", "gelu_erf")
"""Functions of an ACTIVATE that the VXM computes with a table, by names of `FUNCTIONS`."""
FUNCTIONS = (*GATES, "relu")
"""Functions that an ACTIVATE may have. "gelu_erf" is GELU by the error function; the tile computes
it as "gelu", its tanh approximation: they differ by less than 2**-11."""
_AS_IN_TOKENS = (Kind.EMBED, Kind.ADD, Kind.MULTIPLY, Kind.LINEAR, Kind.QUANTISE)
NETWORK_LEGAL = MappingProxyType({kind: LEGAL[kind] for kind in _AS_IN_TOKENS} | {
    Kind.ACTIVATE: Rule((Number.WIDE,), Number.WIDE, functions=FUNCTIONS),
    Kind.NORM: Rule((Number.WIDE,), Number.WIDE, (0, 1), ("rms",), biased=("rms",)),
    Kind.SCORES: Rule((Number.WIDE, Number.WIDE), Number.WIDE),
    Kind.SOFTMAX: LEGAL[Kind.SOFTMAX],
    Kind.VALUES: Rule((Number.NARROW, Number.WIDE), Number.WIDE),
})
"""What is legal in a network, by kind of operation. Unlike those of a token, a NORM and a VALUES make
16-bit integers, which any operation may read, and a SCORES reads queries and keys as two values."""
POSITION = "position"
"""The name of the position as an input of an EMBED."""


@dataclass(frozen=True)
class Network:
    """The operations of a network, in their order.

    `source`: the input: a vector, Number.WIDE, or the number of a row, Number.INDEX, which an EMBED
    reads. An EMBED may read `POSITION`, too. The last operation makes the result. `epsilon`: what
    each NORM, by its name, adds to the mean of squares. `positions`: of a sequence, at most; 0 for
    a network without attention. `scale`: what each SCORES, by its name, multiplies products by.
    """

    source: Value
    operations: tuple[Operation, ...]
    epsilon: Mapping[str, float] = field(default_factory=dict)
    positions: int = 0
    scale: Mapping[str, float] = field(default_factory=dict)

    @property
    def result(self) -> Value:
        """The value that the network makes."""
        return self.operations[-1].output

    def of_kind(self, *kinds: Kind) -> Iterator[Operation]:
        """The operations of these kinds."""
        return (operation for operation in self.operations if operation.kind in kinds)

    def find(self, name: str) -> Operation | None:
        """The operation of this name, or None."""
        return next((operation for operation in self.operations if operation.name == name), None)

    def readers(self, value: str) -> list[Operation]:
        """The operations that read a value."""
        return [operation for operation in self.operations if value in operation.inputs]

    def producer(self, value: str) -> Operation | None:
        """The operation that makes a value; None for the input."""
        return next((operation for operation in self.operations if operation.output.name == value), None)

    @property
    def values(self) -> dict[str, Value]:
        """All values by name: the input, and the output of each operation."""
        return {value.name: value for value in (self.source, *(each.output for each in self.operations))}

    def attentions(self) -> list[tuple[Operation, Operation, Operation]]:
        """(SCORES, SOFTMAX, VALUES) of each attention; they follow one another."""
        found = []
        for scores in self.of_kind(Kind.SCORES):
            (softmax,) = self.readers(scores.output.name)
            (values,) = self.readers(softmax.output.name)
            found.append((scores, softmax, values))
        return found

    def macs_of(self, operation: Operation, position: int = 0) -> int:
        """Useful multiply-accumulates of an operation at a position; only attention depends on it."""
        match operation.kind:
            case Kind.LINEAR:
                return operation.output.size * self.values[operation.inputs[0]].size
            case Kind.SCORES:
                return self.values[operation.inputs[0]].size * (position + 1)
            case Kind.VALUES:
                return operation.output.size * (position + 1)
        return 0

    def macs(self, position: int = 0) -> int:
        """Useful multiply-accumulates of one run of the network, for the vector at a position."""
        return sum(self.macs_of(operation, position) for operation in self.operations)


def check_network(network: Network, integers: bool = False) -> Network:
    """Checks a network and returns it. GraphError names the first operation that breaks a rule.

    Rules: each value is made once, before it is read; numbers are of the kinds that `NETWORK_LEGAL`
    names; both operands of a sum or a product have the size of the result; a SCORES, a SOFTMAX and
    a VALUES follow one another; the result is a vector of 16-bit numbers. `integers`: as for
    `graph.check`.
    """
    if not network.operations:
        raise GraphError("a network without operations")
    known = {network.source.name: network.source, POSITION: Value(POSITION, 1, Number.INDEX)}
    before = None
    for operation in network.operations:
        if operation.kind not in NETWORK_LEGAL:
            raise GraphError(f"{operation.name} ({operation.kind.name}): not in a network")
        check_operation(operation, known, integers, NETWORK_LEGAL)
        expected = AFTER.get(operation.kind)
        if expected and (before is None or before.kind is not expected
                         or before.output.name != operation.inputs[0]):
            raise GraphError(f"{operation.name} ({operation.kind.name}): must follow a {expected.name}")
        if operation.output.name in known:
            raise GraphError(f"{operation.name}: {operation.output.name} is made twice")
        known[operation.output.name] = operation.output
        before = operation
    if network.result.number is not Number.WIDE:
        raise GraphError(f"{network.operations[-1].name}: the result must be {Number.WIDE.value}")
    if any(network.of_kind(Kind.SCORES)) and not network.positions:
        raise GraphError("a network with attention needs the number of its positions")
    return network


AFTER = {Kind.SOFTMAX: Kind.SCORES, Kind.VALUES: Kind.SOFTMAX}
"""The kind of operation that an operation must follow, by its kind."""


def with_heads(network: Network) -> Network:
    """The network, each of whose values has the heads as which attention reads or makes it.

    A sum, a product, a norm and a function have the heads of their operands. GraphError if a value
    would have two numbers of heads.
    """
    group, heads = {name: name for name in network.values}, {}

    def first(name):
        while group[name] != name:
            name = group[name]
        return name

    for operation in network.operations:
        if operation.kind in (Kind.NORM, Kind.ACTIVATE, Kind.ADD, Kind.MULTIPLY):
            for name in operation.inputs:
                group[first(name)] = first(operation.output.name)
    for scores, _, values in network.attentions():
        count = scores.output.heads
        per_head = network.values[scores.inputs[0]].size // count
        for name in (*scores.inputs, values.inputs[1], values.output.name):
            found = network.values[name].size // per_head
            # One head lies in memory as any other vector does.
            if found > 1 and heads.setdefault(first(name), found) != found:
                raise GraphError(f"{scores.name}: {name} would have {found} heads, and elsewhere "
                                 f"{heads[first(name)]}")

    def headed(value):
        if value.number is Number.INDEX or value.name not in group or value.heads:
            return value
        return replace(value, heads=heads.get(first(value.name), 0))

    made = tuple(replace(each, output=headed(each.output)) for each in network.operations)
    return replace(network, source=headed(network.source), operations=made)


def integer_network(network: Network) -> Network:
    """The network with the operations that only integers need: a QUANTISE for each value that a LINEAR reads.

    It stands right behind the operation that makes the value. GraphError if the result is not legal.
    """
    read = {operation.inputs[0] for operation in network.of_kind(Kind.LINEAR)}

    def narrow(value):
        output = replace(value, name=f"{value.name}.int8", number=Number.NARROW)
        phase = next(each.phase for each in network.of_kind(Kind.LINEAR) if each.inputs[0] == value.name)
        return Operation(
            kind=Kind.QUANTISE, name=output.name, inputs=(value.name,), output=output, phase=phase
        )

    made = [narrow(network.source)] if network.source.name in read else []
    for operation in network.operations:
        if operation.kind is Kind.LINEAR:
            operation = replace(operation, inputs=(f"{operation.inputs[0]}.int8",), scaled=True)
        made.append(operation)
        if operation.output.name in read:
            made.append(narrow(operation.output))
    return check_network(replace(network, operations=tuple(made)), integers=True)


@dataclass(frozen=True)
class Weights:
    """A network with its weights.

    `arrays`: float32 by name: matrices [outputs, inputs], biases and gains [channels], tables
    [rows, channels].
    """

    network: Network
    arrays: Mapping[str, np.ndarray]

    def of(self, operation: Operation) -> np.ndarray | None:
        """The weight of an operation, or None if it has none."""
        return self.arrays[operation.weights[0]] if operation.weights else None

    def bias(self, operation: Operation) -> np.ndarray | None:
        """The bias of an operation, or None if it has none."""
        return self.arrays[operation.bias[0]] if operation.bias else None
