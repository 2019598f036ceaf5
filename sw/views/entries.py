"""The entries of a run's timetable: each issue, with its phase, its layer and its heads."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ...hdl.spec.isa import Op
from ...hdl.timing import Issue, Unit, Use, run_cycles, trace, uses
from ..compiler.fill import head_order
from ..model.graph import Kind, Phase
from ..program.program import Program

OTHER = "other"
"""The phase of an instruction of a program that was written by hand."""


@dataclass
class Entry:
    """An issue of an instruction, and what it belongs to.

    `phase`: of the instruction's operation. `layer`: number of the layer, or None outside the
    layers. `heads`: names of the heads that its rounds compute, one a round, or empty. `uses`: units
    of the tile that it uses, and when. `token`: number of the token, from 0 on. `run`: number of the
    run, which is 0 for a resident program.
    """

    issue: Issue
    phase: str
    layer: int | None
    heads: tuple[str, ...] = ()
    uses: list[Use] = field(default_factory=list)
    token: int = 0
    run: int = 0

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


@dataclass(frozen=True)
class _Run:
    """A run of the timetable: the instruction at which it begins, the first token's number and position, the tokens that it
    makes, the operand of its START, and the layer that it does, if it does one layer or none."""

    entry: int = 0
    token: int = 0
    position: int = 0
    count: int = 1
    operand: int = 0
    layer: int | None = None


def entries(program: Program, position: int = 0, count: int = 1) -> Iterator[Entry]:
    """The entries of a run that makes `count` tokens, the first at a position, in the order of their issue.

    The tokens of a streamed program take many runs. They are listed as if each run began in the cycle in which the run before
    it ends: what the link takes in between is not in the timetable.
    """
    graph = program.graph
    operations = {operation.name: operation for operation in graph.operations} if graph else {}
    begins = program.stream.layer[0].name if program.stream and program.stream.external else "layer"
    start, names = 0, program.model and _HeadNames(program.model.shape)
    for number, run in enumerate(_runs(program, position, count)):
        layer = run.layer
        for issue in trace(program.config, program.image.instructions, run.entry, position=run.position, count=run.count,
                           token=run.operand):
            issue = issue._replace(cycle=issue.cycle + start)
            if program.one_run:
                match program.sections.get(issue.pc):
                    case name if name == begins:
                        layer = 0 if layer is None else layer + 1
                    case "end":
                        layer = None
            operation = operations.get(issue.instruction.operation)
            phase = operation.phase if operation else Phase.CONTROL
            heads = names.of(operation, issue) if names and operation and operation.output.heads else ()
            # The HALT after the last TOKEN, which has stepped the position, belongs to that token.
            token = run.token + min(issue.position - run.position, max(run.count, 1) - 1)
            used = [Use(Unit.ISSUE, np.array([issue.cycle])), *uses(program.config, issue)]
            yield Entry(issue, phase.value if graph else OTHER, layer, heads, used, token, number)
        start = run_cycles(issue)


def _runs(program, position, count):
    if program.one_run:
        for first, part in program.parts(position, count):
            yield _Run(program.entry(first), first - position, first, part)
        return
    stream, half = program.stream, 0
    for token in range(count):
        for run in stream.runs():
            layer = run.layer if run.section in stream.layer else None
            yield _Run(run.section.entry, token, position + token, int(run.section.chooses),
                       stream.operand(run, half, position + token), layer)
            half ^= 1


class _HeadNames:
    """Names the heads that the issues of a run compute."""

    def __init__(self, shape):
        self.heads = tuple(f"head {head}" for head in head_order(shape))
        self.kv_heads = tuple(f"KV head {head}" for head in range(shape.n_kv_heads))
        # {(operation, op, note): heads that earlier issues of the layer have computed}
        self.computed = Counter()

    def of(self, operation, issue):
        """The names of the heads that an issue's rounds compute, one a round.

        Behind the scores, heads go in groups, one issue a group. Elsewhere an issue has as many rounds
        as there are heads, KV heads, or both together, or its rounds are no heads: then ().
        """
        rounds = issue.operands.get("count" if issue.op is Op.SFU else "outer", 1)
        if operation.kind in (Kind.SOFTMAX, Kind.VALUES) and len(self.heads) > 1:
            key = operation.name, issue.op, issue.instruction.note
            first = self.computed[key]
            self.computed[key] = (first + rounds) % len(self.heads)
            return self.heads[first:first + rounds]
        every = self.heads, self.kv_heads, self.heads + self.kv_heads
        return next((names for names in every if rounds == len(names) > 1), ())
