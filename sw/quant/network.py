"""The quantiser of networks: a unit for each value, integers for each matrix and each attention.

A value is int16 times a unit that is a power of two. Its range is measured on examples. Before a
product a vector becomes int8 with a step of its own (`integer.quantise`), so the 8 bits are always
used; the step is a scalar that is applied behind the product, as in the models of tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...hdl.spec.errors import MareyError
from ...hdl.spec.integer import GATE_UNIT, HEAD_ROOT_SHIFT
from ..model.graph import Kind
from ..model.network import GATES, Network, Weights, integer_network
from ..model.network_reference import run
from . import network_attention
from .fixed_point import linears, snapped, unit_bits, with_common_shift
from .gptq import nearest
from .model import Linear

GATE_RANGE = 32767 / 2**GATE_UNIT
"""The largest value that the function of a gate can read."""


@dataclass(frozen=True)
class QuantisedNetwork:
    """A network in integers.

    `network`: with the operations that only integers need. `bits`: by value, the n of its unit
    2**-n. `linears`: by operation. `vectors`: int16 by name: the gains of a NORM, by the
    operation's name, the bias of a NORM, by its own, and the table of an EMBED, [rows, channels],
    by the operation's. `shifts`: bits, by operation: of each MULTIPLY, and of the gains of each
    NORM. `attentions`: by the name of a SCORES.
    """

    network: Network
    bits: Mapping[str, int]
    linears: Mapping[str, Linear]
    vectors: Mapping[str, np.ndarray]
    shifts: Mapping[str, int]
    attentions: Mapping[str, network_attention.Attention]

    def integers(self, x: np.ndarray) -> np.ndarray:
        """The input as int16, [..., channels], from floats; row numbers stay as they are."""
        if not np.issubdtype(x.dtype, np.floating):
            return x
        return np.clip(np.rint(x * 2.0 ** self.bits[self.network.source.name]), -32768, 32767).astype(
            np.int64
        )

    def floats(self, y: np.ndarray) -> np.ndarray:
        """The real values, float64, of integer results."""
        return y * 2.0 ** -self.bits[self.network.result.name]


def quantise_network(model: Weights, examples: np.ndarray) -> QuantisedNetwork:
    """The integers of a network, whose ranges are measured on `examples`: inputs, as for
    `network_reference.run`.

    MareyError if a value is not finite, or too large for the function that reads it.
    """
    return _Quantiser(model, examples).run()


class _Quantiser:
    def __init__(self, model: Weights, examples: np.ndarray):
        self.model, self.network = model, model.network
        self.ranges: dict[str, float] = {}
        self._channels: dict[str, np.ndarray] = {}
        self._inside = {each.output.name for each in self.network.of_kind(Kind.SCORES, Kind.SOFTMAX)}
        self._classes = {name: name for name in self.network.values}
        run(model, examples, self._observe)

    def _observe(self, name, value):
        if name in self._inside:
            self.ranges[name] = 0.0
            return
        self._channels[name] = np.abs(value).max(axis=0, initial=0)
        largest = float(np.abs(value).max(initial=0))
        if not np.isfinite(largest):
            raise MareyError(f"{name} has values that are not finite")
        self.ranges[name] = largest

    def run(self) -> QuantisedNetwork:
        bits = self._units()
        made, vectors, shifts = {}, {}, {}
        for operation in self.network.operations:
            weight, bias, out = (
                self.model.of(operation),
                self.model.bias(operation),
                bits[operation.output.name],
            )
            whole = None if bias is None else _int16(bias * 2.0**out)
            match operation.kind:
                case Kind.EMBED:
                    vectors[operation.name] = _int16(weight * 2.0**out)
                case Kind.LINEAR:
                    factors = [2.0 ** (out - bits[operation.inputs[0]])]
                    (integers,) = snapped([nearest(weight, 8)], [weight], factors)
                    (made[operation.name],) = linears([integers], factors, [whole], scaled=True)
                case Kind.MULTIPLY:
                    shifts[operation.name] = sum(bits[name] for name in operation.inputs) - out
                case Kind.NORM:
                    gain = np.ones(operation.output.size) if weight is None else weight
                    factor = gain * 2.0 ** (HEAD_ROOT_SHIFT + out) * np.sqrt(operation.output.size / 2.0**15)
                    (size,), shifts[operation.name] = with_common_shift([np.abs(factor)])
                    vectors[operation.name] = size * np.sign(factor).astype(np.int16)
                    vectors |= {} if bias is None else {operation.bias[0]: whole}
        attentions = {scores.name: self._attention(scores, values, bits)
                      for scores, _, values in self.network.attentions()}
        return QuantisedNetwork(integer_network(self.network), bits, made, vectors, shifts, attentions)

    def _attention(self, scores, values, bits):
        names = dict(zip(("queries", "keys", "values"), (*scores.inputs, values.inputs[1]), strict=True))
        return network_attention.attention(
            scores.output.heads, self.network.scale[scores.name],
            {name: self._channels[value] for name, value in names.items()},
            {name: bits[value] for name, value in (names | {"output": values.output.name}).items()})

    def _units(self):
        """{value: bits of its unit}. The operands and the result of a sum have the same unit, and
        so have those of a ReLU; what a gate reads and makes counts 2**-GATE_UNIT."""
        network, gated = self.network, set()
        for operation in network.operations:
            names = (*operation.inputs, operation.output.name)
            gate = operation.kind is Kind.ACTIVATE and operation.function in GATES
            if operation.kind in (Kind.ADD, Kind.ACTIVATE):
                self._join(names)
            if gate:
                gated |= set(names)
        ranges = dict.fromkeys(map(self._class, network.values), 0.0)
        for name in network.values:
            operation = network.producer(name)
            bias = self.model.bias(operation) if operation else None
            largest = max(self.ranges[name], 0.0 if bias is None else float(np.abs(bias).max()))
            ranges[self._class(name)] = max(ranges[self._class(name)], largest)
        fixed = set(map(self._class, gated))
        for name in sorted(fixed):
            if ranges[name] > GATE_RANGE:
                raise MareyError(
                    f"{name} reaches {ranges[name]:.4g}, and the tile's SiLU and GELU read values up to "
                    f"{GATE_RANGE:.0f}"
                )
        found = {name: GATE_UNIT if name in fixed else unit_bits(largest) for name, largest in ranges.items()}
        for operation in network.of_kind(Kind.MULTIPLY):
            # The result has no finer unit than the product of its operands.
            product, made = (
                sum(found[self._class(name)] for name in operation.inputs),
                self._class(operation.output.name),
            )
            if product < found[made] and made in fixed:
                raise MareyError(
                    f"{operation.name}: the operands reach so large values that their product has no unit of "
                    f"2**-{GATE_UNIT}, which the function behind it reads"
                )
            found[made] = min(found[made], product)
        return {name: found[self._class(name)] for name in network.values}

    def _class(self, name):
        """The value that stands for all that have the same unit as this one."""
        while self._classes[name] != name:
            name = self._classes[name]
        return name

    def _join(self, names):
        first, *others = map(self._class, names)
        for other in others:
            self._classes[self._class(other)] = self._class(first)


def _int16(values):
    return np.clip(np.rint(values), -32768, 32767).astype(np.int16)
