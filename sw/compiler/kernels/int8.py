"""Steps that bring a vector to int8, in the buffer `input`; see `integer.quantise`.

The scalar unit makes two scalars of the largest magnitude: the factor to int8, and the step back. The
products of two vectors are brought to int8 group by group: each group fills 16 bits first.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ....hdl.spec.isa import Address, Op, Reduce, Sfu
from ...model.graph import Value
from ..builder import ABSMAX, Builder, moved_by
from ..steps import Step, best, step
from .filling import Filling


@dataclass(frozen=True)
class Int8:
    """The way of `count` granules of MEM, from `source` on, to int8, in the buffer `buffer` from granule
    `first` on.

    The pass that writes the vector finds its largest magnitude, for register `peak`. `factor`:
    register of the factor to int8; its step is in the next one.
    """

    builder: Builder
    what: str
    source: int
    count: int
    peak: int
    factor: int
    first: int = 0
    buffer: str = "input"

    @classmethod
    def whole(cls, builder: Builder, what: str, source: int, count: int) -> "Int8":
        """The way of a vector without groups."""
        return cls(builder, what, source, count, ABSMAX, builder.quantiser)

    def scale(self) -> Step:
        """The step that makes the two scalars."""
        return self._sfu("int8 scale", function=Sfu.QUANTISE, a=self.peak, into=self.factor)

    def values(self, **turns: int) -> Step:
        """The pass that writes the int8 values; `turns`: counts of a pass in several pieces."""
        return step(self.builder.vector_pass(
            f"{self.what}: to int8", self.count, x=self.source, scalar=self.factor,
            dst=self.builder.buffer[self.buffer] + self.first, narrow=1, **turns))

    def values_between(self, interval: int) -> Step:
        """Like `values`, at once or in turns that fit the gaps of a stream; see `turns_between`."""
        return best([self.values(**turn) for turn in turns_between(self.builder, self.count, interval)])

    def scalar(self, by: int, into: int) -> Step:
        """The step that writes the step back, times the scalar in register `by`, to register `into`."""
        return self._sfu("scalar", function=Sfu.MULTIPLY, a=self.factor + 1, b=by, into=into)

    def _sfu(self, what, **operands):
        return step(self.builder.op(Op.SFU, f"{self.what}: {what}", **operands))


@dataclass(frozen=True)
class Groups:
    """The way of the products of the vectors at `x` and `y` to int8: `count` granules in the groups of
    `value`. Each group fills 16 bits, in the buffer at `buffer`, and is brought to int8.

    `interval`: cycles from one result to the next of the stream that makes the products, which the VXM
    takes meanwhile: each pass goes in turns that fit its gaps. The scalars of the groups are left in the
    registers from `Builder.group_scalars` on.
    """

    builder: Builder
    what: str
    value: Value
    count: int
    x: int
    y: int | Address
    range_shift: int
    buffer: int
    interval: int

    def stages(self) -> Iterator[list[Step]]:
        """The steps, stage by stage: in each a group is measured, the group before it filled, and the one
        before that brought to int8."""
        groups, builder, size = self.value.groups, self.builder, self.count // self.value.groups
        fillings = [Filling(builder, self.what, size, self.x + group * size, moved_by(self.y, group * size), self.range_shift,
                            1 + group) for group in range(groups)]
        ways = [Int8(builder, self.what, self.buffer + group * size, size, builder.peaks + group,
                     builder.group_steps + 2 * group, group * size) for group in range(groups)]
        turns = turns_between(builder, size, self.interval)
        for stage in range(groups + 2):
            steps = []
            if stage < groups:
                steps += [best([fillings[stage].measure(**turn) for turn in turns]), fillings[stage].invert()]
            if 0 <= (group := stage - 1) < groups:
                steps += [best([fillings[group].fill(ways[group].source, reduce=Reduce.ABSMAX, into=ways[group].peak, **turn)
                                for turn in turns]), ways[group].scale()]
            if 0 <= (group := stage - 2) < groups:
                steps += [ways[group].values_between(self.interval), *fillings[group].scalars(),
                          ways[group].scalar(fillings[group].scalar, builder.group_scalars + group)]
            yield steps


def halves(builder: Builder, what: str, value: Value, source: int, count: int) -> list[Int8]:
    """The ways of the two halves of a vector of `count` granules."""
    return [Int8(builder, what, source + first, end - first, builder.peaks + half, builder.group_steps + 2 * half, first)
            for half, (first, end) in enumerate(builder.halves(value, count))]


def turns_between(builder: Builder, size: int, interval: int) -> list[dict[str, int]]:
    """Counts of a pass over `size` granules: at once, or in turns that fit the gaps of a stream with a result
    every `interval` cycles."""
    free = min(size, interval - builder.config.beats_per_result)
    inner = max((inner for inner in range(1, free + 1) if size % inner == 0), default=size)
    return [{}] if inner == size else [{}, {"inner": inner, "middle": size // inner, "interval": interval}]
