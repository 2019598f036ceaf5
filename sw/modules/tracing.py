"""A network under construction: the operations that a mapping has written so far, and their weights."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.fx import Node

from ..model.graph import Kind, Number, Operation, Phase, Value

PHASES = {Kind.EMBED: Phase.EMBEDDING, Kind.NORM: Phase.NORM}
"""The phase of an operation, by its kind; of all others it is FFN."""


@dataclass(frozen=True)
class Vector:
    """A value of the network: its name, and its channels."""

    name: str
    size: int


@dataclass(frozen=True)
class Parameter:
    """A parameter or buffer of the module: its name in the state, and its values."""

    name: str
    values: torch.Tensor

    def transposed(self) -> "Parameter":
        """The matrix with rows and columns exchanged, under a name of its own."""
        return Parameter(
            self.name.removesuffix(".T") if self.name.endswith(".T") else f"{self.name}.T", self.values.T
        )

    @property
    def array(self) -> np.ndarray:
        """The values as float32."""
        return self.values.to(torch.float32).cpu().numpy()


@dataclass(frozen=True)
class Scaled:
    """A part of an operation that several of ATen make up: "square" and "mean" of the squares of a
    vector, the "root" of it, 1 / sqrt(mean + `epsilon`), and the "sigmoid" of a vector."""

    what: str
    of: Vector
    epsilon: float = 0.0


class Trace:
    """The operations so far. `arrays`, `epsilon`: as in `Weights` and `Network`."""

    def __init__(self):
        self.operations: list[Operation] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.epsilon: dict[str, float] = {}
        self._name, self._node = "", None

    def at(self, name: str, node: Node) -> None:
        """Says for which node the next operations are, and how they are called."""
        self._name, self._node = name, node

    def needed_for(self, result: str) -> list[Operation]:
        """The operations on which a value depends, in their order."""
        needed, found = {result}, []
        for operation in reversed(self.operations):
            if operation.output.name in needed:
                needed |= set(operation.inputs)
                found.append(operation)
        return found[::-1]

    def _unique(self, name):
        taken, number, found = {each.name for each in self.operations}, 1, name
        while found in taken:
            number += 1
            found = f"{name}_{number}"
        return found

    def _write(self, kind, inputs, size, name="", weights=(), bias=(), function=""):
        name = self._unique(name or self._name)
        self.operations.append(Operation(
            kind=kind, name=name, inputs=tuple(inputs), output=Value(f"{name}.result", size, Number.WIDE),
            phase=PHASES.get(kind, Phase.FFN), weights=tuple(weights), bias=tuple(bias), function=function))
        return Vector(f"{name}.result", size)

    def _keep(self, parameter):
        """The names of a parameter, or of none, whose values are kept."""
        if parameter is None:
            return ()
        self.arrays[parameter.name] = parameter.array
        return (parameter.name,)

    def linear(self, x: Vector, weight: Parameter, bias: Parameter | None) -> Vector | str:
        """weight @ x + bias; or why not."""
        if weight.values.dim() != 2 or weight.values.shape[1] != x.size:
            return (
                f"a matrix {list(weight.values.shape)} reads vectors of {x.size} values: Marey maps matrices "
                "that read "
                "whole vectors, [batch, channels]"
            )
        return self._write(
            Kind.LINEAR, [x.name], weight.values.shape[0], weights=self._keep(weight), bias=self._keep(bias)
        )

    def embedding(self, table: Parameter, rows: Vector) -> Vector:
        """The row of a table."""
        return self._write(Kind.EMBED, [rows.name], table.values.shape[1], weights=self._keep(table))

    def activate(self, x: Vector, function: str) -> Vector:
        """A function of each channel."""
        return self._write(Kind.ACTIVATE, [x.name], x.size, function=function)

    def add(self, one: Vector, other: Vector) -> Vector | None:
        """The sum of two vectors of one size."""
        return self._write(Kind.ADD, [one.name, other.name], one.size) if one.size == other.size else None

    def multiply(self, one: Vector, other: Vector) -> Vector | None:
        """The product of two vectors of one size, channel by channel."""
        return (
            self._write(Kind.MULTIPLY, [one.name, other.name], one.size) if one.size == other.size else None
        )

    def norm(self, x: Vector, gain: Parameter | None, bias: Parameter | None, epsilon: float) -> Vector:
        """x / sqrt(mean of squares + epsilon) * gain + bias."""
        made = self._write(
            Kind.NORM, [x.name], x.size, weights=self._keep(gain), bias=self._keep(bias), function="rms"
        )
        self.epsilon[self.operations[-1].name] = float(epsilon)
        return made

    def layer_norm(self, x: Vector, gain: Parameter | None, bias: Parameter | None, epsilon: float,
                   node: Node) -> Vector:
        """Like `norm`, after the mean is subtracted.

        If a matrix makes x, and nothing else reads it, its outputs get the mean 0. Otherwise
        another matrix, of elements -1 / channels, makes the mean.
        """
        source = self._producer(x)
        if (
            source is not None
            and self.operations[source].kind is Kind.LINEAR
            and len(node.args[0].users) == 1
        ):
            self._centre(source)
            return self.norm(x, gain, bias, epsilon)
        mean = f"{self._name}.mean"
        self.arrays[mean] = np.full((x.size, x.size), -1 / x.size, np.float32)
        negative = self._write(Kind.LINEAR, [x.name], x.size, name=mean, weights=(mean,))
        centred = self._write(Kind.ADD, [x.name, negative.name], x.size, name=f"{self._name}.centred")
        return self.norm(centred, gain, bias, epsilon)

    def _producer(self, x):
        """The number of the operation that makes x; None for the input."""
        return next(
            (number for number, each in enumerate(self.operations) if each.output.name == x.name), None
        )

    def _centre(self, number):
        """Gives the outputs of a matrix the mean 0."""
        source = self.operations[number]
        names = {name: f"{name}.centred" for name in (*source.weights, *source.bias)}
        for name, new in names.items():
            values = self.arrays[name].astype(np.float64)
            self.arrays[new] = (values - values.mean(axis=0, keepdims=True)).astype(np.float32)
        self.operations[number] = replace(source, weights=tuple(names[name] for name in source.weights),
                                          bias=tuple(names[name] for name in source.bias))

    def biased(self, x: Vector, bias: Parameter) -> Vector | None:
        """x plus a parameter, if a matrix or a norm makes x, has no bias yet, and nothing else
        reads x; else None."""
        return self._with_parameter(x, bias, (Kind.LINEAR, Kind.NORM), "bias")

    def gained(self, x: Vector, gain: Parameter) -> Vector | None:
        """x times a parameter, if a norm makes x, has no gains yet, and nothing else reads x; else None."""
        return self._with_parameter(x, gain, (Kind.NORM,), "weights")

    def _with_parameter(self, x, parameter, kinds, field):
        number = self._producer(x)
        alone = all(len(each.users) == 1 for each in self._node.all_input_nodes if each.op != "placeholder")
        if number is None or not alone or parameter.values.shape != (x.size,):
            return None
        made = self.operations[number]
        if made.kind not in kinds or getattr(made, field) or made.bias:
            return None
        self.operations[number] = replace(made, **{field: self._keep(parameter)})
        return x
