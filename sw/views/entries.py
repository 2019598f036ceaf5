"""The entries of a run's timetable: each issue, with its phase, its layer and its heads."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ...hdl.spec.isa import Op
from ...hdl.timing import Issue, Unit, Use, trace, uses
from ..compiler.fill import head_order
from ..model.graph import Phase
from ..program.program import Program

OTHER = "other"
"""The phase of an instruction of a program that was written by hand."""


@dataclass
class Entry:
    """An issue of an instruction, and what it belongs to.

    `phase`: of the instruction's operation. `layer`: number of the layer, or None outside the
    layers. `heads`: names of the heads that its rounds compute, one a round, or empty. `uses`: units
    of the tile that it uses, and when.
    """

    issue: Issue
    phase: str
    layer: int | None
    heads: tuple[str, ...] = ()
    uses: list[Use] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name of the entry, for example "layer 3 softmax exp"."""
        layer = f"layer {self.layer} " if self.layer is not None else ""
        note = self.issue.instruction.note or self.issue.op.name
        return f"{layer}{self.phase} {note}" if note != self.phase else f"{layer}{self.phase}"

    def cycles(self, unit: str) -> np.ndarray:
        """The cycles in which the entry uses a unit, int64; empty if it does not."""
        found = [use.cycles for use in self.uses if use.unit == unit]
        return np.concatenate(found) if found else np.empty(0, np.int64)


def entries(program: Program, position: int = 0, count: int = 1) -> Iterator[Entry]:
    """The entries of a run of `count` tokens, the first at `position`, in the order of their
    issue."""
    layer, graph = None, program.graph
    kinds = {operation.name: operation for operation in graph.operations} if graph else {}
    for issue in trace(program.config, program.image.instructions, position=position, count=count):
        match program.sections.get(issue.pc):
            case "layer":
                layer = 0 if layer is None else layer + 1
            case "end":
                layer = None
        operation = kinds.get(issue.instruction.operation)
        phase = operation.phase if operation else Phase.CONTROL
        heads = _heads(program.model.shape, issue) if operation and operation.output.heads else ()
        found = [Use(Unit.ISSUE, np.array([issue.cycle])), *uses(program.config, issue)]
        yield Entry(issue, phase.value if graph else OTHER, layer, heads, found)


def _heads(shape, issue):
    """Names of the heads that an issue's rounds compute: () unless it has as many rounds as there
    are heads or KV heads."""
    rounds = issue.operands.get("count" if issue.op is Op.SFU else "outer", 1)
    if rounds > 1 and rounds == shape.n_heads:
        return tuple(f"head {head}" for head in head_order(shape))
    return tuple(f"KV head {head}" for head in range(rounds)) if rounds > 1 and rounds == shape.n_kv_heads else ()
