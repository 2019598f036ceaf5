"""A feed-forward network: the operations that turn one vector into another, without positions and layers.

It is made of the same operations as the graph of a token (`graph.py`). Its values are vectors, and its
input is a vector that the host writes, or the row of a table.
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
})
"""What is legal in a network, by kind of operation. Unlike that of a token, a NORM makes 16-bit
integers, which any operation may read."""


@dataclass(frozen=True)
class Network:
    """The operations of a network, in their order.

    `source`: the input: a vector, Number.WIDE, or the number of a row, Number.INDEX, which the
    first operation, an EMBED, reads. The last operation makes the result. `epsilon`: what each
    NORM, by its name, adds to the mean of squares.
    """

    source: Value
    operations: tuple[Operation, ...]
    epsilon: Mapping[str, float] = field(default_factory=dict)

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

    def macs_of(self, operation: Operation, position: int = 0) -> int:
        """Useful multiply-accumulates of an operation; they do not depend on a position."""
        return (
            operation.output.size * self.values[operation.inputs[0]].size
            if operation.kind is Kind.LINEAR
            else 0
        )

    def macs(self, position: int = 0) -> int:
        """Useful multiply-accumulates of one run of the network."""
        return sum(map(self.macs_of, self.operations))


def check_network(network: Network, integers: bool = False) -> Network:
    """Checks a network and returns it. GraphError names the first operation that breaks a rule.

    Rules: each value is made once, before it is read; numbers are of the kinds that `NETWORK_LEGAL`
    names; both operands of a sum or a product have the size of the result; only the first operation
    is an EMBED; the result is a vector of 16-bit numbers. `integers`: as for `graph.check`.
    """
    if not network.operations:
        raise GraphError("a network without operations")
    known = {network.source.name: network.source}
    for operation in network.operations:
        if operation.kind not in NETWORK_LEGAL:
            raise GraphError(f"{operation.name} ({operation.kind.name}): not in a network")
        check_operation(operation, known, integers, NETWORK_LEGAL)
        if operation.kind is Kind.EMBED and operation is not network.operations[0]:
            raise GraphError(f"{operation.name} (EMBED): only the first operation may be one")
        if operation.output.name in known:
            raise GraphError(f"{operation.name}: {operation.output.name} is made twice")
        known[operation.output.name] = operation.output
    if network.result.number is not Number.WIDE:
        raise GraphError(f"{network.operations[-1].name}: the result must be {Number.WIDE.value}")
    return network


def integer_network(network: Network) -> Network:
    """The network with the operations that only integers need: a QUANTISE for each value that a LINEAR reads.

    It stands right behind the operation that makes the value. GraphError if the result is not legal.
    """
    read = {operation.inputs[0] for operation in network.of_kind(Kind.LINEAR)}

    def narrow(value):
        output = Value(f"{value.name}.int8", value.size, Number.NARROW)
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
    return check_network(Network(network.source, tuple(made), network.epsilon), integers=True)


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
