"""The timetable of a run: every operation, when it is where, and what the MXM waits for.

An operation is one issue of an instruction. `operations` walks a run; `chart` puts it into the form that the page draws:
what tokens have in common is there once, so that a story of 200 tokens is little more than one token.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from ...hdl.sequencer.sequencer import Sequencer
from ...hdl.spec.isa import Op
from ...hdl.timing import ROWS, Issue, Kind, Unit, Use, entries_of, run_cycles, trace, uses
from ..compiler.fill import head_order
from ..program.program import Program

PHASES = {
    "embedding": ("embedding: factor", "embedding", "rotation"),
    "norm": ("norm: gain", "norm: squares", "norm: int8 scale", "norm: to int8", "norm: 1/rms", "norm: scalar"),
    "QKV": ("qk", "v", "qk: factors", "v: factors", "qk: scale", "v: scale", "turn queries", "turn keys", "keys",
            "values to the cache"),
    "scores": ("scores",),
    "softmax": ("exp", "1/sum"),
    "values": ("values",),
    "output": ("wo",),
    "FFN": ("w1", "w3", "w2", "w1: factors", "w3: factors", "w2: factors", "w1: scale", "w3: scale", "w2: scale", "silu",
            "silu(gate) * up", "hidden: int8 scale", "hidden: to int8"),
    "classifier": ("classifier", "logits' scale"),
    "control": ("",),
}
"""Phases of a token, and the notes of their instructions."""
PHASE = {note: phase for phase, notes in PHASES.items() for note in notes}
OTHER = "other"
"""The phase of an instruction of a program that was written by hand."""

NEAR = 2
"""An operation that could have begun at most so many cycles earlier waits for what kept it."""


@dataclass
class Operation:
    """An issue, and whose it is: its phase, its layer (or None), the heads that its rounds are of."""

    issue: Issue
    phase: str
    layer: int | None
    heads: tuple[str, ...] = ()
    uses: list[Use] = field(default_factory=list)

    @property
    def name(self) -> str:
        """`layer 3 softmax exp`, for instance."""
        layer = f"layer {self.layer} " if self.layer is not None else ""
        note = self.issue.instruction.note or self.issue.op.name
        return f"{layer}{self.phase} {note}" if note != self.phase else f"{layer}{self.phase}"

    def cycles(self, unit: str) -> np.ndarray:
        """The cycles in which it uses a unit; empty if it does not."""
        found = [use.cycles for use in self.uses if use.unit == unit]
        return np.concatenate(found) if found else np.empty(0, np.int64)


def operations(program: Program, position: int = 0, count: int = 1) -> Iterator[Operation]:
    """The operations of a run that makes `count` tokens, the first at a position, in the order of their issue."""
    layer = None
    for issue in trace(program.config, program.image.instructions, position=position, count=count):
        match program.sections.get(issue.pc):
            case "layer":
                layer = 0 if layer is None else layer + 1
            case "end":
                layer = None
        note = issue.instruction.note
        phase = PHASE.get(note, OTHER) if program.model else OTHER
        found = [Use(Unit.ISSUE, np.array([issue.cycle])), *uses(program.config, issue)]
        yield Operation(issue, phase, layer, _heads(program, issue, phase), found)


def _heads(program, issue, phase):
    """Names of the heads that an issue's rounds are of, if they are heads."""
    if program.model is None or phase not in ("QKV", "scores", "softmax", "values"):
        return ()
    shape, rounds = program.model.shape, issue.operands.get("count" if issue.op is Op.SFU else "outer", 1)
    keys = issue.instruction.note in ("turn keys", "keys", "v")
    if rounds == 1 or rounds != (shape.n_kv_heads if keys else shape.n_heads):
        return ()
    return tuple(f"{'KV head' if keys else 'head'} {head}" for head in (range(rounds) if keys else head_order(shape)))


@dataclass(frozen=True)
class Gap:
    """Cycles, `start` to `end` with neither, in which no beat enters the MXM, and why: `cause` is "data" (the operation
    waits for a value), "structure" (for a unit that is in use) or "fill" (pipelines fill or drain, the sequencer computes).

    `before`: the operation that ends it, or None at the end of a token; `waits_for`: what that waits for, in words.
    """

    start: int
    end: int
    cause: str
    waits_for: str
    before: Operation | None = None


def gaps(program: Program, token: list[Operation], begin: int, end: int) -> list[Gap]:
    """The MXM's gaps in the operations of one token, which take the cycles from `begin` to `end`."""
    waits = _waits(program.config, token)
    takers = {int(taken[0]): index for index, operation in enumerate(token) if (taken := operation.cycles(Unit.STREAM)).size}
    found, free = [], begin
    for index, operation in enumerate(token):
        beats = operation.cycles(Unit.MXM_BEAT)
        if not beats.size:
            continue
        if beats[0] > free:
            # A product waits for what it reads and for what the VXM needs to take its results.
            results = operation.cycles(Unit.DRAIN)
            both = [waits[index], waits[takers[int(results[0])]]] if results.size else []
            slack, cause, what = min((wait for pair in both for wait in pair), default=(NEAR + 1, "fill", ""))
            if slack > NEAR:
                cause, what = "fill", "pipeline, or the sequencer's own arithmetic"
            found.append(Gap(free, int(beats[0]), cause, what, operation))
        breaks = np.flatnonzero(np.diff(beats) > 1)
        found += [Gap(int(beats[at]) + 1, int(beats[at + 1]), "structure", "the VXM takes a result's granules", operation)
                  for at in breaks]
        free = int(beats[-1]) + 1
    if end > free:
        found.append(Gap(free, end, "fill", "the last results come through, and the token is chosen"))
    return found


def _waits(config, token):
    """Of each operation, (slack, "data", what) and (slack, "structure", what): by how many cycles it might be earlier."""
    written, used, found = {}, {}, []
    for operation in token:
        data, structure = (1 << 30, "data", ""), (1 << 30, "structure", "")
        for use in operation.uses:
            access = use.unit.access
            if access and not access.writes and access.memory in written:
                cycles, writers = written[access.memory]
                entries = entries_of(config, use)
                known = entries < len(cycles)
                slack = (np.repeat(use.cycles, access.entries(config))[known] - cycles[entries[known]] - 1)
                if slack.size:
                    at = int(slack.argmin())
                    data = min(data, (int(slack[at]), "data", writers[entries[known][at]]))
            if (rival := use.unit.rival) in used:
                last, who = used[rival]
                if use.cycles[0] > last:
                    structure = min(structure, (int(use.cycles[0] - last - 1), "structure", f"{who}: {rival.label}"))
        for use in operation.uses:
            access = use.unit.access
            if access and access.writes:
                entries = entries_of(config, use)
                cycles, writers = written.setdefault(access.memory, (np.empty(0, np.int64), np.empty(0, object)))
                if (more := int(entries.max()) + 1 - len(cycles)) > 0:
                    cycles = np.concatenate([cycles, np.full(more, -1 << 30)])
                    writers = np.concatenate([writers, np.full(more, "", object)])
                cycles[entries], writers[entries] = np.repeat(use.cycles, access.entries(config)), operation.name
                written[access.memory] = cycles, writers
            if use.unit.rival:
                used[use.unit] = max(used.get(use.unit, (-1, "")), (int(use.cycles[-1]), operation.name))
        found.append((data, structure))
    return found


def runs(cycles: np.ndarray) -> list[list[int]]:
    """Ascending cycles as [start, length, stride, count]: `count` runs of `length` cycles each, `stride` apart."""
    starts = np.flatnonzero(np.diff(cycles, prepend=cycles[0] - 2) != 1)
    lengths = np.diff(starts, append=len(cycles))
    first, stride = cycles[starts], np.diff(cycles[starts])
    if len(set(lengths.tolist())) == 1 and len(set(stride.tolist())) <= 1:
        return [[int(first[0]), int(lengths[0]), int(stride[0]) if stride.size else 0, len(first)]]
    return [[int(start), int(length), 0, 1] for start, length in zip(first, lengths, strict=True)]


def chart(program: Program, position: int = 0, count: int = 1) -> dict:
    """The timetable of a run as JSON takes it.

    ::

        name, config, rows, cols, cycles, phases
        units         [[unit, label]]
        instructions  [{text, note, phase, heads}], by program counter
        forms         [[[unit number, runs by round]]]; cycles count from the issue on
        templates     [{cycles, operations, gaps, summary}]: a token's operations [pc, cycle, form, layer or -1],
                      the MXM's gaps [start, end, cause, waits for], and its sums
        tokens        [[start, position, template]]

    A token's cycles count from its start, its first issue less what the sequencer takes to it; so do its operations'.
    """
    config, made = program.config, {}
    units = {unit: number for number, unit in enumerate(ROWS)}
    everything = list(operations(program, position, count))
    instructions = [{"text": str(instruction), "note": instruction.note, "phase": OTHER, "heads": []}
                    for instruction in program.image.instructions]
    forms, templates, tokens = _Numbered(), _Numbered(), []
    by_token = [list(group) for _, group in groupby(everything, key=lambda operation: operation.issue.position)]
    if len(by_token) > 1 and by_token[-1][0].issue.op is Op.HALT:
        # The last TOKEN has stepped the position, and a HALT follows it.
        by_token[-2:] = [by_token[-2] + by_token[-1]]
    end = run_cycles(everything[-1].issue)
    starts = [token[0].issue.cycle - Sequencer.first_issue(config) for token in by_token] + [end]
    for token, start, following in zip(by_token, starts, starts[1:], strict=False):
        listed = []
        for operation in token:
            issue = operation.issue
            instructions[issue.pc] |= {"phase": operation.phase, "heads": list(operation.heads)}
            key = (issue.pc, *((use.cycles - issue.cycle).tobytes() for use in operation.uses))
            if key not in made:
                made[key] = forms.number(_form(operation, units))
            listed.append([issue.pc, issue.cycle - start, made[key], -1 if operation.layer is None else operation.layer])
        key = (tuple(map(tuple, listed)), following - start)
        if key not in templates.known:
            templates.number(key, _template(program, token, start, following, listed))
        tokens.append([start, token[0].issue.position, templates.known[key]])
    return {
        "name": program.name, "config": config.name, "rows": config.rows, "cols": config.cols, "cycles": end,
        "phases": [*PHASES, OTHER], "units": [(unit, unit.label) for unit in ROWS], "instructions": instructions,
        "forms": forms.values, "templates": templates.values, "tokens": tokens,
    }


class _Numbered:
    """Values, numbered as they come, each once."""

    def __init__(self):
        self.values, self.known = [], {}

    def number(self, key, value=None):
        if key not in self.known:
            self.known[key] = len(self.values)
            self.values.append(key if value is None else value)
        return self.known[key]


def _form(operation, units):
    """What an operation does to the units, from its issue on: ((unit, ((runs of a round), ...)), ...)."""
    rounds = max(len(operation.heads), 1)
    found = []
    for use in operation.uses:
        if not use.unit.is_row:
            continue
        cycles = use.cycles - operation.issue.cycle
        parts = cycles.reshape(rounds, -1) if len(cycles) % rounds == 0 and use.unit.facts.kind is not Kind.ENGINE else [cycles]
        found.append((units[use.unit], tuple(tuple(map(tuple, runs(part))) for part in parts)))
    return tuple(found)


def _template(program, token, start, end, listed):
    shape, config, position = program.model and program.model.shape, program.config, token[0].issue.position
    idle = gaps(program, token, start, end)
    macs = {}
    if shape:
        heads, both = shape.n_heads * shape.head_dim, shape.dim * (position + 1) * shape.n_layers
        macs = {"QKV": shape.n_layers * shape.dim * (heads + 2 * shape.kv_dim), "scores": both, "values": both,
                "output": shape.n_layers * heads * shape.dim, "FFN": 3 * shape.n_layers * shape.dim * shape.hidden_dim,
                "classifier": shape.vocab_size * shape.dim}
    phases, layers = {}, {}
    for operation in token:
        beats = {unit: operation.cycles(unit) for unit in (Unit.MXM_BEAT, Unit.VXM_BEAT, Unit.SFU_BEAT)}
        row = phases.setdefault(operation.phase, {"name": operation.phase, "mxm": 0, "vxm": 0, "sfu": 0, "idle": 0, "floor": 0})
        for unit, cycles in beats.items():
            row[unit] += len(cycles)
        if operation.layer is not None and beats[Unit.MXM_BEAT].size:
            first = int(beats[Unit.MXM_BEAT][0]) - start
            layer = layers.setdefault(operation.layer, {"name": operation.layer, "start": first, "mxm": 0})
            layer["mxm"] += len(beats[Unit.MXM_BEAT])
            layer["end"] = int(beats[Unit.MXM_BEAT][-1]) + 1 - start
    for gap in idle:
        if gap.before:
            phases[gap.before.phase]["idle"] += gap.end - gap.start
    for name, count in macs.items():
        phases[name]["floor"] = round(count / config.macs, 2)
    return {
        "cycles": end - start, "operations": listed,
        "gaps": [[gap.start - start, gap.end - start, gap.cause, gap.waits_for] for gap in idle],
        "phases": list(phases.values()), "layers": list(layers.values()),
        "floor": round(sum(macs.values()) / config.macs, 2),
    }


def text(program: Program, position: int = 0, count: int = 1) -> Iterator[str]:
    """The timetable for a terminal: an operation a line, with the first and last cycle of its beats, results and writes."""
    shown = {Unit.MXM_BEAT: "MXM", Unit.VXM_BEAT: "VXM", Unit.SFU_BEAT: "SFU", Unit.MEM_WRITE: "MEM", Unit.KEY_WRITE: "keys",
             Unit.VALUE_WRITE: "values"}
    yield f"{'issue':>8} {'position':>8} {'layer':>5}  {'phase':<11}{'operation':<20}when"
    for operation in operations(program, position, count):
        issue = operation.issue
        when = [f"{label} {cycles[0]}-{cycles[-1]}" for unit, label in shown.items() if (cycles := operation.cycles(unit)).size]
        layer = "" if operation.layer is None else operation.layer
        yield (f"{issue.cycle:>8} {issue.position:>8} {layer:>5}  {operation.phase:<11}"
               f"{issue.instruction.note or issue.op.name:<20}{', '.join(when)}")
