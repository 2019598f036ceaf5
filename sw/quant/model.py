"""The integer model: a graph whose matrices and vectors are integers, each value in a unit of its own."""

from dataclasses import dataclass

import numpy as np

from ..model.config import ModelConfig
from ..model.graph import Graph, Kind

FRACTION = 4
"""Bits by which queries and keys are finer before they become int8."""


@dataclass(frozen=True)
class Linear:
    """A linear operation on int8 inputs, in 16 bits: y = saturate(round_shift((weight @ x) * multiplier, shift) + bias).

    `weight`: int8 [N, K]; `multiplier`: int16 [groups, N], not negative, or [1, 1] if it is the same for all outputs;
    `group`: inputs that share a multiplier; `shift`: 0 to 47, or less by 15 where the vector's scalar adds its exponent;
    `bias`: int16 [N], in the unit of the result, or None.

    With several groups their parts are added up one after another, each rounded and the sum saturated. `rescale` then is the
    shift of the vector's scalar, which multiplies the sum; of one group the scalar multiplies the multipliers.
    """

    weight: np.ndarray
    multiplier: np.ndarray
    shift: int
    group: int
    rescale: int = 0
    bias: np.ndarray | None = None

    @property
    def groups(self) -> int:
        """Groups of inputs, each with its own multipliers."""
        return len(self.multiplier)

    @property
    def factors(self) -> np.ndarray:
        """The multiplier of every output: int16 [groups, N]."""
        return np.broadcast_to(self.multiplier, (self.groups, len(self.weight)))


@dataclass(frozen=True, kw_only=True)
class QuantisedModel:
    """Everything the integer model needs.

    `graph`: the model's, with the operations that only integers need. `linears`: its LINEAR operations by full name
    ("layers.0.qk", "classifier"). `vectors`: int16 vectors by full name: the gains of each NORM, [channels], or [1] if they
    are all 1; "layers.N.key_offset" [n_kv_heads, head_dim], which is added to every key in units of int8 (what all keys
    have in common adds the same to all scores, which softmax does not see, and without it int8 has smaller steps);
    "layers.N.score" [n_heads], from q.k to 2**-8 of an octave; the table of each POSITION. `shifts`: bits taken off the
    result of an operation, by its name, the same in every layer, since a program is one loop over layers.

    `embedding`: int8 [vocab, dim], with `embedding_factor` int16 [groups, vocab] for groups of `embedding_group` values, into
    units of 2**-`residual_unit`; the classifier's if the model is tied. The factor is [1, 1] if all tokens have the same.
    `epsilon`: added to a norm's sum of squares. `logit_unit`: what a logit of 1 with a scale of 1 is worth.
    """

    config: ModelConfig
    graph: Graph
    bits: int
    embedding: np.ndarray
    embedding_factor: np.ndarray
    embedding_group: int
    residual_unit: int
    epsilon: int
    shifts: dict[str, int]
    vectors: dict[str, np.ndarray]
    logit_unit: float
    linears: dict[str, Linear]

    def linear(self, name: str, layer: int = 0) -> Linear:
        """The LINEAR operation of this name, of one layer if it is in the layers."""
        return self.linears[name if name in self.linears else f"layers.{layer}.{name}"]

    def vector(self, name: str, layer: int = 0) -> np.ndarray:
        """The vector of this name, of one layer if it is in the layers."""
        return self.vectors[name if name in self.vectors else f"layers.{layer}.{name}"]

    @property
    def groups(self) -> dict[str, int]:
        """Inputs in a group, by LINEAR operation and for "embedding", where there are several groups."""
        groups = {name.rpartition(".")[2]: linear.group for name, linear in self.linears.items() if linear.groups > 1}
        return groups | ({"embedding": self.embedding_group} if len(self.embedding_factor) > 1 else {})

    @property
    def uniform(self) -> frozenset[str]:
        """LINEAR operations (and "embedding") that have one factor for all outputs, and NORM operations without gains."""
        norms = {operation.name for operation in self.graph.of_kind(Kind.NORM)}
        values = {name.rpartition(".")[2]: linear.multiplier for name, linear in self.linears.items()} | {
            "embedding": self.embedding_factor,
            **{short: value for name, value in self.vectors.items() if (short := name.rpartition(".")[2]) in norms}}
        return frozenset(name for name, value in values.items() if value.size == 1)

    @property
    def embedding_factors(self) -> np.ndarray:
        """The factor of every token: int16 [groups, vocab]."""
        return np.broadcast_to(self.embedding_factor, (len(self.embedding_factor), self.config.vocab_size))
