"""Where the elements of a module's tensors lie in the network's values.

An operation of `torch.export` that only moves elements (a view, a transposition, a part of a tensor)
needs no mapping of its own: it is applied to the numbers of the elements instead.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch


@dataclass(frozen=True, eq=False)
class Vector:
    """A tensor whose elements are channels of one value of the network.

    `name`, `size`: the value, and its channels. `at`: int64 of the tensor's shape, row * size +
    channel of each element. Rows are the inputs of the batch; in a network with attention, the
    positions of all sequences, sequence by sequence.
    """

    name: str
    size: int
    at: torch.Tensor

    def is_same(self, other: "Vector") -> bool:
        """Whether both are the same elements."""
        return self.name == other.name and torch.equal(self.at, other.at)

    def lines(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """(row of each line [lines], channels of all lines [n]), where a line goes through the last
        dimension; None if lines have different channels or are of several rows."""
        flat = self.at.reshape(-1, self.at.shape[-1]) if self.at.dim() else self.at.reshape(1, 1)
        rows, channels = flat[:, 0] // self.size, flat[0] % self.size
        return (rows, channels) if torch.equal(flat, rows[:, None] * self.size + channels) else None

    def by_row(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """(channels [n], `at` of the same tensor in a value that has just these channels), if each
        row has the same channels in the same order; else None."""
        flat = self.at.reshape(-1)
        rows = flat // self.size
        order = torch.argsort(rows, stable=True)
        present = len(torch.unique(rows))
        if not present or len(flat) % present:
            return None
        count = len(flat) // present
        channels = (flat % self.size)[order].reshape(present, count)
        sorted_rows = rows[order].reshape(present, count)
        if not (
            torch.equal(channels, channels[:1].expand_as(channels))
            and torch.equal(sorted_rows, sorted_rows[:, :1].expand_as(sorted_rows))
        ):
            return None
        at = torch.empty_like(flat)
        at[order] = (sorted_rows * count + torch.arange(count)).reshape(-1)
        return channels[0], at.reshape(self.at.shape)

    def of_lines(self, name: str, size: int) -> "Vector":
        """The tensor of another value's vectors in the place of this one's lines."""
        rows, _ = self.lines()
        at = rows[:, None] * size + torch.arange(size)
        return Vector(name, size, at.reshape(*self.at.shape[:-1], size))


@dataclass(frozen=True, eq=False)
class Heads:
    """A tensor [..., positions, channels of a head] of a value.

    `name`, `size`: the value, which has just these heads. `count`: heads of a sequence. `sequences`,
    `numbers`: of each matrix [positions, channels] of the tensor, the sequence and the head.
    """

    name: str
    size: int
    count: int
    sequences: torch.Tensor
    numbers: torch.Tensor

    def is_like(self, other: "Heads") -> bool:
        """Whether both tensors have the same sequences and heads in the same order."""
        return (
            self.size == other.size
            and torch.equal(self.sequences, other.sequences)
            and torch.equal(self.numbers, other.numbers)
        )

    def tensor(self, name: str, positions: int, shape: torch.Size) -> Vector:
        """A tensor of a shape, of a value of so many channels that has the heads in the same places."""
        channels = self.size // self.count
        rows = self.sequences[:, None] * positions + torch.arange(positions)
        at = (rows * self.size + self.numbers[:, None] * channels)[..., None] + torch.arange(channels)
        return Vector(name, self.size, at.reshape(shape))


def split_heads(x: Vector, positions: int) -> tuple[torch.Tensor, Heads] | None:
    """(the channels of all heads, in order, [size], the heads without a name), of a tensor
    [..., positions, channels of a head]; None if it is not made so."""
    if not positions or x.at.dim() < 2 or x.at.shape[-2] != positions:
        return None
    at = x.at.reshape(-1, *x.at.shape[-2:])
    rows, channels = at // x.size, (at % x.size)[:, 0]
    sequences = rows[:, 0, 0] // positions
    expected = (sequences[:, None] * positions + torch.arange(positions))[..., None]
    if not torch.equal(at, expected * x.size + channels[:, None]):
        return None
    order = torch.argsort(sequences, stable=True)
    batch = len(torch.unique(sequences))
    if len(order) % batch:
        return None
    count = len(order) // batch
    by_sequence = channels[order].reshape(batch, count, -1)
    if not torch.equal(by_sequence, by_sequence[:1].expand_as(by_sequence)):
        return None
    numbers = torch.empty_like(sequences)
    numbers[order] = torch.arange(count).repeat(batch)
    chosen = by_sequence[0].reshape(-1)
    return chosen, Heads("", len(chosen), count, sequences, numbers)


@dataclass(frozen=True)
class Parameter:
    """A parameter or buffer of the module, or what is computed from them alone: its name, and its
    values."""

    name: str
    values: torch.Tensor

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


@dataclass(frozen=True)
class Joined:
    """Vectors one behind the other in the last dimension of a tensor."""

    parts: tuple[Vector, ...]


@dataclass(frozen=True)
class Scores:
    """Products of queries with keys, times `scale`, [..., positions, positions]; `causal`: those with
    later positions are masked."""

    q: Heads
    k: Heads
    scale: float = 1.0
    causal: bool = False

    def scaled(self, factor: float) -> "Scores":
        """The scores times a number."""
        return replace(self, scale=self.scale * factor)


@dataclass(frozen=True)
class Softmax:
    """The softmax of scores in their last dimension."""

    of: Scores
