"""Lowering: linear operations become segments (tile runs) in groups (what is in the tile at one time).

Everything that fits stays in the tile: one group, loaded once, and the model is *resident*. What does not
is *streamed*: group after group, each loaded when its turn comes. An operation too large for the tile
is cut by outputs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..hdl.config import Config
from ..hdl.errors import MareyError
from ..hdl.isa import Instruction, Isa
from ..hdl.rules import check
from .quantise import Linear
from .scheduler import matmul


class CompileError(MareyError):
    """A model that this configuration cannot run; one line with the reason."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One run of the tile: `outputs` results of a linear operation, from its output `first` on, of `vectors` inputs.

    The host writes the inputs from MEM word `act` on (`inner` words a vector), starts at `entry`, and reads int16
    results from granule `dst` on (`outer` * cols a vector, of which the first `outputs` mean something).
    """

    linear: str
    first: int
    outputs: int
    inputs: int
    vectors: int
    group: int
    entry: int
    act: int
    dst: int
    inner: int
    outer: int
    cycles: int

    @property
    def macs(self) -> int:
        """Useful multiply-accumulates."""
        return self.vectors * self.inputs * self.outputs


@dataclass(frozen=True)
class Group:
    """What is in the tile at one time.

    `program`: instructions, from 0 on. `weights`: int8 [words, cols, rows], W-RAM from word 0 on. `factors`: int16, MEM
    from granule `factors_at` on.
    """

    program: list[Instruction]
    weights: np.ndarray
    factors: np.ndarray
    factors_at: int

    def codes(self, config: Config) -> list[int]:
        """The program, encoded."""
        isa = Isa(config)
        return [isa.encode(instruction) for instruction in self.program]


@dataclass(frozen=True)
class Piece:
    """Outputs [first, first + outputs) of a linear operation, with what they cost in words and granules."""

    name: str
    linear: Linear
    first: int
    outputs: int
    inner: int
    outer: int

    @property
    def words(self) -> int:
        return self.inner * self.outer


def lower(config: Config, linears: Mapping[str, Linear], vectors: int = 1) -> tuple[list[Group], list[Segment]]:
    """Groups and segments of linear operations, in their order; each run multiplies `vectors` inputs.

    Every program is checked against the rules of the tile. CompileError if one output's weights or one run's
    values do not fit the configuration.
    """
    inner = max(_inner(config, linear) for linear in linears.values())
    act, dst = 0, vectors * inner * config.granules_per_word
    most = max(-(-linear.weight.shape[0] // config.cols) for linear in linears.values())
    # Factors take one granule where a vector's results take one, so MEM holds `vectors + 1` of them.
    room = (config.granules - dst) // (vectors + 1) // config.beats_per_result
    if room < 1 or inner > config.wram_depth:
        raise CompileError(f"an operation with {inner * config.rows} inputs does not fit configuration {config.name} "
                           f"({config.mem_depth} MEM words, {config.wram_depth} W-RAM words): choose a larger one")
    most = min(most, room, config.wram_depth // inner)
    factors_at = dst + vectors * most * config.beats_per_result

    groups, segments = [], []
    pending: list[Piece] = []
    capacity = (config.granules - factors_at) // config.beats_per_result

    def close():
        group, made = _assemble(config, pending, len(groups), vectors, act, dst, factors_at)
        groups.append(group)
        segments.extend(made)
        pending.clear()

    for piece in _pieces(config, linears, most):
        used = [*pending, piece]
        if pending and (sum(p.words for p in used) > config.wram_depth or sum(p.outer for p in used) > capacity
                        or len(used) * PROGRAM_LENGTH > config.program_depth):
            close()
        pending.append(piece)
    close()
    return groups, segments


PROGRAM_LENGTH = 12
"""More instructions than any segment's program has."""


def _inner(config, linear):
    """Words of activations; at least as many as keep results cols / lanes cycles apart."""
    return max(-(-linear.weight.shape[1] // config.rows), config.beats_per_result)


def _pieces(config, linears, most) -> Iterator[Piece]:
    """Operations, cut where one has more than `most` groups of cols outputs."""
    for name, linear in linears.items():
        inner, outputs = _inner(config, linear), linear.weight.shape[0]
        step = min(most, config.wram_depth // inner) * config.cols
        for first in range(0, outputs, step):
            count = min(step, outputs - first)
            yield Piece(name, linear, first, count, inner, -(-count // config.cols))


def _assemble(config, pieces, number, vectors, act, dst, factors_at):
    """The group that holds the pieces, and their segments."""
    program, segments, weights, factors = [], [], [], []
    wgt, scale = 0, factors_at
    for piece in pieces:
        code = matmul(
            config, rows=vectors, inner=piece.inner, outer=piece.outer, act=act, wgt=wgt, scale=scale, dst=dst,
            shift=piece.linear.shift, entry=len(program),
            note=f"{piece.name}[{piece.first}:{piece.first + piece.outputs}]",
        )
        assert len(code) <= PROGRAM_LENGTH
        entry = len(program)
        program += code
        segments.append(Segment(
            linear=piece.name, first=piece.first, outputs=piece.outputs, inputs=piece.linear.weight.shape[1],
            vectors=vectors, group=number, entry=entry, act=act, dst=dst, inner=piece.inner, outer=piece.outer,
            cycles=check(config, program, entry),
        ))
        weights.append(place(config, piece))
        factor = np.zeros(piece.outer * config.cols, np.int16)
        factor[:piece.outputs] = piece.linear.multiplier[piece.first:piece.first + piece.outputs]
        factors.append(factor)
        wgt += piece.words
        scale += piece.outer * config.beats_per_result
    return Group(program, np.concatenate(weights), np.concatenate(factors), factors_at), segments


def place(config: Config, piece: Piece) -> np.ndarray:
    """A piece's weights as W-RAM has them: int8 [outer * inner, cols, rows], zeros where the matrix ends.

    Output o * cols + c is in column c; its inputs lie in words o * inner to o * inner + inner - 1.
    """
    matrix = piece.linear.weight[piece.first:piece.first + piece.outputs]
    padded = np.zeros((piece.outer * config.cols, piece.inner * config.rows), np.int8)
    padded[:matrix.shape[0], :matrix.shape[1]] = matrix
    return (padded.reshape(piece.outer, config.cols, piece.inner, config.rows)
            .transpose(0, 2, 1, 3).reshape(-1, config.cols, config.rows))
