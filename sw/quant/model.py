"""The integer model: a graph, with its matrices and vectors as integers; each value has a unit of
its own."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...hdl.spec.chained import TURN_SHIFT
from ..model.config import ModelConfig
from ..model.graph import Graph, Kind

FRACTION = TURN_SHIFT - 14
"""Fractional bits of queries and keys in 16 bits, which are rounded away when they become int8; a rotation has 14."""


@dataclass(frozen=True)
class Linear:
    """A linear operation on int8 inputs, with int16 results.

    y = saturate(round_shift((weight @ x) * multiplier, shift) + bias)

    `weight`: int8 [N, K]. `multiplier`: int16 [groups, N], not negative, or [1, 1] if it is the
    same for all outputs. `group`: number of consecutive inputs that share a multiplier. `shift`:
    bits, 0 to 47; or -15 to 32 if the exponent of the input's scalar is added to it. `bias`: int16
    [N], in the unit of the result, or None.

    With several groups, the product of each group is rounded and added to those before it, and each
    sum is saturated.

    The input's scalar, if there is one, multiplies the multipliers of a single group, and each group's
    scalar those of the group. If several groups have one scalar, it multiplies the sum, which is then
    shifted by `rescale` bits plus its exponent.

    A gated LINEAR (see `Operation`) has a multiplier of 1, by which nothing is multiplied, and
    y = saturate(round_shift((weight @ x) * gate, shift)), in 8 bits.

    The products of the last `offset_groups` groups are shifted by `offset_shift` instead of `shift`. They are
    the sums of the other groups' inputs, times the offsets of the weights (`affine.py`).

    If inputs have two halves, `group` is the size of the first, and a half is like a group; unless the
    product of the first half is made before its scalar is known (`integer_graph.early`). Then it is shifted
    by `first_shift` bits; the scalar multiplies it; it is shifted by `rescale` bits plus the scalar's
    exponent; and the product of the second half is added, whose scalar multiplies the multipliers.
    """

    weight: np.ndarray
    multiplier: np.ndarray
    shift: int
    group: int
    rescale: int = 0
    bias: np.ndarray | None = None
    offset_groups: int = 0
    offset_shift: int = 0
    first_shift: int | None = None

    @cached_property
    def floats(self) -> np.ndarray:
        """`weight` as float32 [N, K], made once: what `integer.matvec` computes with."""
        return self.weight.astype(np.float32)

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
    """A model in integers, as the golden model and the compiler need it.

    `graph`: the model's integer graph. `bits`: of a weight, 8 or 4. `linears`: its LINEAR operations
    by full name ("layers.0.qk", "classifier"). `shifts`: bits by which the result of an operation is
    shifted right, by the operation's name. They are the same in every layer, since the program is
    one loop over the layers.

    `vectors`: int16 vectors by full name.

    - The gains of each NORM, [channels], or [1] if all of them are 1.
    - "layers.N.key_offset", [n_kv_heads, head_dim], is added to every key, in units of int8. It
      centres the keys, so that int8 has smaller steps; it adds the same to all scores of a query,
      and the softmax does not depend on that. None if `integer_graph.keys_at_once`.
    - "layers.N.score", [n_heads], factors from q.k to scores in units of 2**-8 (see `Golden`).
    - The gains of each HEAD_NORM, [n_heads + n_kv_heads, head_dim].
    - The table of each POSITION, [seq_len, dim].

    - If the residual is balanced (see `residual.py`): "epsilon", [1], the value of a channel behind
      the residual, whose square is the norms' epsilon. For each NORM its name with "_units",
      [channels + 1], the units of the residual's channels and of that one. For each RESCALE,
      [channels], the numbers that bring the residual to the units of the layer, with
      `integer.RESCALE_SHIFT` fractional bits.

    - If weights have offsets: for each ADD its name, [dim], the numbers that bring the second operand to the
      residual's units, with `integer.SUMMAND_SHIFT` fractional bits.

    `shifts["cached values"]`: bits by which values are shifted right before they are cached.

    `embedding`: int8 [vocab, dim]. `embedding_factor`: int16 [groups, vocab], or [1, 1] if all are
    the same; it brings each group of `embedding_group` channels to the residual's unit. Both are the
    classifier's if the model is tied. If the residual is balanced, int16 [dim]: a factor for each
    channel; the high and the low half of an integer (`integer.signed_halves`) are multiplied apart if weights have
    4 bits.

    `residual_units`: the real value of a step of the residual that `begin` and each layer make,
    float64 [n_layers + 1, 1], or [n_layers + 1, dim] if the residual is balanced.

    `epsilon`: added to a norm's sum of squares, unless the residual is balanced. `logit_unit`: a
    logit is worth logit * scale * `logit_unit`. `quality`: see `quality.py`; None if it was not judged.
    `cache_bits`: of a cached key or value, 8 or 4.
    """

    config: ModelConfig
    graph: Graph
    bits: int
    embedding: np.ndarray
    embedding_factor: np.ndarray
    embedding_group: int
    residual_units: np.ndarray
    epsilon: int
    shifts: dict[str, int]
    vectors: dict[str, np.ndarray]
    logit_unit: float
    linears: dict[str, Linear]
    quality: float | None = None
    cache_bits: int = 8

    def linear(self, name: str, layer: int = 0) -> Linear:
        """The LINEAR operation of this name; `layer` says which layer's, if it is in the layers.
        KeyError if there is none."""
        return self.linears[name if name in self.linears else f"layers.{layer}.{name}"]

    def vector(self, name: str, layer: int = 0) -> np.ndarray:
        """The vector of this name, int16; `layer` says which layer's, if it is in the layers.
        KeyError if there is none."""
        return self.vectors[name if name in self.vectors else f"layers.{layer}.{name}"]

    @property
    def balanced(self) -> bool:
        """Whether each channel of the residual has a unit of its own."""
        return "epsilon" in self.vectors

    @property
    def offsets(self) -> bool:
        """Whether weights have offsets (`affine.py`): those of 4 bits of a balanced model."""
        return self.balanced and self.bits == 4

    @property
    def pipelined(self) -> bool:
        """Whether inputs of matrices have two halves; see `integer_graph`."""
        return any(value.first for value in self.graph.values)

    @property
    def static(self) -> bool:
        """Whether inputs of matrices have no scalars at run time; see `integer_graph`."""
        return any(value.static for value in self.graph.values)

    @property
    def gated(self) -> bool:
        """Whether a matrix multiplies its results by a second input; see `integer_graph`."""
        return any(operation.gated for operation in self.graph.operations)

    @property
    def groups(self) -> dict[str, int]:
        """Inputs in a group, by the names of LINEAR operations and "embedding"; only those with
        several groups of equal size."""
        halved = {value.name for value in self.graph.values if value.first}
        groups = {each.name: linear.group for each in self.graph.of_kind(Kind.LINEAR) if each.inputs[0] not in halved
                  and (linear := self.linear(each.name)).groups > 1}
        several = not self.balanced and len(self.embedding_factor) > 1
        return groups | ({"embedding": self.embedding_group} if several else {})

    @property
    def uniform(self) -> frozenset[str]:
        """Names of LINEAR operations (and "embedding") with one factor for all outputs, and of NORM
        operations without gains."""
        norms = {operation.name for operation in self.graph.of_kind(Kind.NORM)}
        gated = {operation.name for operation in self.graph.operations if operation.gated}
        values = {name.rpartition(".")[2]: linear.multiplier for name, linear in self.linears.items()} | {
            "embedding": self.embedding_factor,
            **{short: value for name, value in self.vectors.items() if (short := name.rpartition(".")[2]) in norms}}
        return frozenset(name for name, value in values.items() if value.size == 1) - gated

    @property
    def embedding_factors(self) -> np.ndarray:
        """The factors of every token's row: int16 [groups, vocab]."""
        return np.broadcast_to(self.embedding_factor, (len(self.embedding_factor), self.config.vocab_size))
