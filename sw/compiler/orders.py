"""The orders in which the steps of a layer up to its scores are tried; the scheduler keeps the one that ends first."""

from dataclasses import dataclass

from ...hdl.spec.isa import Instruction
from ..model.graph import Kind, Operation
from .builder import Builder
from .kernels import steps_of
from .kernels.heads import queries_first, scores
from .kernels.linear import linear, scaled_later
from .steps import Step


@dataclass(frozen=True)
class Order:
    """Steps of a section up to its scores. `late`: an instruction that brings values to the cache behind the scores, or
    None."""

    steps: list[Step]
    late: Instruction | None = None

    @property
    def beats(self) -> int:
        """Beats of the late instruction."""
        return self.late["outer"] * self.late["inner"] if self.late else 0


def orders(builder: Builder, operations: list[Operation], first: list[Step], fewest: int) -> list[Order]:
    """The orders for these operations, the last of which makes the scores of at least `fewest` blocks. `first`: steps before
    all others."""
    *before, last = operations
    parts = [(each, steps_of(builder, each)) for each in before]
    builder.operation = last
    end = scores(builder, last, fewest)
    made = next(at for at, each in enumerate(before) if each.kind is Kind.LINEAR and each.output.heads
                and builder.graph.readers(each.output.name, builder.graph.layer)[0].kind is Kind.VALUES)
    found = [Order([*first, *(each for _, steps in parts for each in steps), *end])]
    if builder.layout.pipelined:
        found += _late(builder, parts, made, first, end)
    elif _turned_first(builder, before, made):
        # The product of the values may also come when the VXM has turned keys and queries.
        steps = [steps for _, steps in parts]
        start = [*first, *(each for part in steps[:made] for each in part)]
        rest = [*(each for part in steps[made + 2:] for each in part), *end]
        found += [Order([*start, *heads, *steps[made], *rest]) for heads in (steps[made + 1], queries_first(steps[made + 1]))]
        if builder.layout.values_late:
            *product, cached = steps[made]
            found.append(Order([*start, *steps[made + 1], *product, *rest], _only(cached)))
    return found


def _turned_first(builder, operations, made):
    """Whether another pass brings the values to the cache or multiplies them by their input's scalar, and the passes that
    turn keys and queries do not fit between the results of the values."""
    return (builder.config.engines > 1 and (builder.layout.values_late or scaled_later(builder, operations[made]))
            and made + 1 < len(operations) and operations[made + 1].kind is Kind.ROTATE)


def _only(cached):
    """The instruction of a step that has no choice."""
    (choice,) = cached.choices
    (instruction,) = choice.instructions
    return instruction


def _late(builder, parts, made, first, end):
    """Orders in which values go to the cache behind the scores, which then need not wait for them. The passes before the
    second half of the first product may be cut."""
    *_, cached = parts[made][1]
    product, _ = parts[0]
    builder.operation = product
    count = builder.place.matrix(product.name).results * builder.config.beats_per_result
    for start in (parts[0][1], linear(builder, product, (count // 2,))):
        steps = [start, *(each for _, each in parts[1:])]
        steps[made] = steps[made][:-1]
        yield Order([*first, *(each for part in steps for each in part), *end], _only(cached))
