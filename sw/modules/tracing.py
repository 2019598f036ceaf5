"""A network under construction: the operations that a mapping has written so far, and their weights.

What changes an operation that is there, such as a bias that is added to its result, writes the changed
operation anew; the old one is left out if nothing reads it.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from ..model.graph import Kind, Number, Operation, Phase, Value
from ..model.network import POSITION, Network, Weights, check_network, with_heads
from .elements import Heads, Parameter, Vector, split_heads

PHASES = {
    Kind.EMBED: Phase.EMBEDDING,
    Kind.NORM: Phase.NORM,
    Kind.SCORES: Phase.SCORES,
    Kind.SOFTMAX: Phase.SOFTMAX,
    Kind.VALUES: Phase.VALUES,
}
"""The phase of an operation, by its kind; of all others it is FFN."""
Arrays = tuple[np.ndarray | None, np.ndarray | None]
"""The weight and the bias of an operation."""


class Trace:
    """The operations so far. `positions`: of a sequence, 0 without attention. `batch`: of the example."""

    def __init__(self, positions: int, batch: int):
        self.positions, self.batch = positions, batch
        self._operations: dict[str, Operation] = {}  # by the value that they make
        self._arrays: dict[str, np.ndarray] = {}
        self._epsilon: dict[str, float] = {}
        self._scale: dict[str, float] = {}
        self._name = ""

    def at(self, name: str) -> None:
        """Says how the next operations are called."""
        self._name = name

    def weights(self, source: Value, result: str) -> Weights:
        """The network that makes a value, with its weights."""
        needed, found = {result}, []
        for name, operation in reversed(self._operations.items()):
            if name in needed:
                needed |= set(operation.inputs)
                found.append(operation)
        values, operations, names = {source.name: source.name, POSITION: POSITION}, [], set()
        for operation in found[::-1]:
            name, number = operation.name, 1
            while name in names:
                number += 1
                name = f"{operation.name}_{number}"
            names.add(name)
            values[operation.output.name] = f"{name}.result"
            operations.append(
                replace(
                    operation,
                    name=name,
                    inputs=tuple(values[each] for each in operation.inputs),
                    output=replace(operation.output, name=f"{name}.result"),
                )
            )
        by_name = dict(
            zip((each.output.name for each in found[::-1]), (each.name for each in operations), strict=True)
        )
        network = check_network(
            with_heads(
                Network(
                    source,
                    tuple(operations),
                    {by_name[value]: each for value, each in self._epsilon.items() if value in by_name},
                    self.positions if any(each.kind is Kind.SCORES for each in operations) else 0,
                    {by_name[value]: each for value, each in self._scale.items() if value in by_name},
                )
            )
        )
        used = {name for each in operations for name in (*each.weights, *each.bias)}
        return Weights(network, {name: self._arrays[name] for name in used})

    # Writing operations. Each returns the name of the value that is made.

    def write(
        self,
        kind: Kind,
        inputs: tuple[str, ...],
        size: int,
        *,
        name: str = "",
        weight: np.ndarray | None = None,
        bias: np.ndarray | None = None,
        function: str = "",
        heads: int = 0,
        number: Number = Number.WIDE,
    ) -> str:
        """Writes an operation of a kind."""
        made = f"value {len(self._operations)}"
        kept = {part: values for part, values in (("weight", weight), ("bias", bias)) if values is not None}
        self._arrays |= {f"{made}.{part}": values.astype(np.float32) for part, values in kept.items()}
        self._operations[made] = Operation(
            kind=kind,
            name=name or self._name,
            inputs=inputs,
            output=Value(made, size, number, heads),
            phase=PHASES.get(kind, Phase.FFN),
            weights=(f"{made}.weight",) * ("weight" in kept),
            bias=(f"{made}.bias",) * ("bias" in kept),
            function=function,
        )
        return made

    def norm(
        self, x: str, size: int, gain: np.ndarray | None, bias: np.ndarray | None, epsilon: float
    ) -> str:
        """x / sqrt(mean of squares + epsilon) * gain + bias."""
        made = self.write(Kind.NORM, (x,), size, weight=gain, bias=bias, function="rms")
        self._epsilon[made] = float(epsilon)
        return made

    def centred(self, x: str, size: int) -> str:
        """x without its mean. If a matrix makes x, its outputs get the mean 0; otherwise another matrix,
        of elements -1 / channels, makes the mean."""
        producer = self._operations.get(x)
        if producer and producer.kind is Kind.LINEAR:
            return self._rewritten(
                x,
                lambda weight, bias: (
                    weight - weight.mean(axis=0, keepdims=True),
                    None if bias is None else bias - bias.mean(),
                ),
            )
        negative = self.write(
            Kind.LINEAR, (x,), size, name=f"{self._name}.mean", weight=np.full((size, size), -1 / size)
        )
        return self.write(Kind.ADD, (x, negative), size, name=f"{self._name}.centred")

    def attention(self, q: Heads, k: Heads, v: Heads, scale: float) -> str:
        """The values, averaged by the softmax of the products of queries and keys times `scale`."""
        scores = self.write(
            Kind.SCORES,
            (q.name, k.name),
            q.count * self.positions,
            heads=q.count,
            name=f"{self._name}.scores",
        )
        self._scale[scores] = float(scale)
        weights = self.write(
            Kind.SOFTMAX,
            (scores,),
            q.count * self.positions,
            heads=q.count,
            number=Number.NARROW,
            name=f"{self._name}.softmax",
        )
        return self.write(Kind.VALUES, (weights, v.name), v.size, name=f"{self._name}.values")

    # Parts, sums and multiples of what is there. None if the operation that makes it cannot be changed so.

    def selected(self, x: Vector, channels: torch.Tensor) -> str | None:
        """The value that has these channels of another one, in this order."""
        chosen = channels.numpy()
        if np.array_equal(chosen, np.arange(x.size)):
            return x.name
        return self._rewritten(
            x.name,
            lambda weight, bias: (weight[chosen], None if bias is None else bias[chosen]),
            (Kind.LINEAR,),
            len(chosen),
        )

    def scaled(self, x: str, factors: np.ndarray) -> str | None:
        """x times a factor for each channel."""

        def change(weight, bias):
            by_output = factors[:, None] if self._operations[x].kind is Kind.LINEAR else factors
            return (
                factors if weight is None else weight * by_output
            ), None if bias is None else bias * factors

        return self._rewritten(x, change, (Kind.LINEAR, Kind.NORM, Kind.EMBED))

    def biased(self, x: str, bias: np.ndarray) -> str | None:
        """x plus a number for each channel."""

        def change(weight, old):
            return weight, bias if old is None else bias + old

        return self._rewritten(x, change, (Kind.LINEAR, Kind.NORM))

    def _rewritten(self, x: str, change: Callable[..., Arrays], kinds=(Kind.LINEAR,), size=0) -> str | None:
        """The operation that makes x, with changed weight and bias, written anew."""
        old = self._operations.get(x)
        if old is None or old.kind not in kinds:
            return None
        arrays = [
            self._arrays[names[0]].astype(np.float64) if names else None for names in (old.weights, old.bias)
        ]
        weight, bias = change(*arrays)
        made = self.write(
            old.kind,
            old.inputs,
            size or old.output.size,
            name=old.name,
            weight=weight,
            bias=bias,
            function=old.function,
        )
        if x in self._epsilon:
            self._epsilon[made] = self._epsilon[x]
        return made

    # Tensors

    def whole(self, x: Vector) -> Vector | None:
        """The same tensor as one of a value that has no other channels."""
        found = x.by_row()
        name = found and self.selected(x, found[0])
        return Vector(name, len(found[0]), found[1]) if name else None

    def heads(self, x: Vector) -> Heads | None:
        """A tensor [..., positions, channels of a head] as heads of one value."""
        found = split_heads(x, self.positions)
        name = found and self.selected(x, found[0])
        return replace(found[1], name=name) if name else None

    def table(self, x: Vector, parameter: Parameter) -> np.ndarray | None:
        """A parameter, as a row for each position, [positions or 1, channels], that is added to or
        multiplied by the value of a tensor (`whole`); None if it differs from sequence to sequence,
        or some positions are not in the tensor."""
        try:
            values = parameter.values.to(torch.float64).expand(x.at.shape)
        except RuntimeError:
            return None
        rows = max(1, self.positions) * self.batch
        made = torch.full((rows * x.size,), torch.nan, dtype=torch.float64)
        made[x.at.reshape(-1)] = values.reshape(-1)
        by_sequence = made.reshape(self.batch, -1, x.size)
        if not torch.equal(by_sequence, by_sequence[:1].expand_as(by_sequence)):
            return None
        found = by_sequence[0].numpy()
        return found[:1] if np.array_equal(found, np.broadcast_to(found[:1], found.shape)) else found

    def placed(self, x: Vector, table: np.ndarray) -> str:
        """x plus a row of a table, by the position."""
        row = self.write(Kind.EMBED, (POSITION,), x.size, name=f"{self._name}.position", weight=table)
        return self.write(Kind.ADD, (x.name, row), x.size)
