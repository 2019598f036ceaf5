"""The timetable of a run, for the page and for a terminal.

`chart` puts the entries of a run into the form that the page draws. Tokens with equal timetables
share one copy, so that 200 tokens take little more room than one.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import groupby

import numpy as np

from ...hdl.sequencer.sequencer import Sequencer
from ...hdl.spec.isa import Op
from ...hdl.timing import Kind, Unit, rows, run_cycles
from ..model.graph import Phase
from ..program.assembly import spans
from ..program.program import Program
from .bus import bus_rows, bus_uses, place_in_banks
from .entries import OTHER, entries
from .gaps import gaps


def runs(cycles: np.ndarray) -> list[list[int]]:
    """Ascending cycles as [start, length, stride, count]: `count` runs of `length` cycles each, `stride` apart."""
    starts = np.flatnonzero(np.diff(cycles, prepend=cycles[0] - 2) != 1)
    lengths = np.diff(starts, append=len(cycles))
    first, stride = cycles[starts], np.diff(cycles[starts])
    if len(set(lengths.tolist())) == 1 and len(set(stride.tolist())) <= 1:
        return [[int(first[0]), int(lengths[0]), int(stride[0]) if stride.size else 0, len(first)]]
    return [[int(start), int(length), 0, 1] for start, length in zip(first, lengths, strict=True)]


def chart(program: Program, position: int = 0, count: int = 1) -> dict:
    """The timetable of a run of `count` tokens, the first at `position`, as values that JSON can
    hold.

    ::

        name, config, rows, cols, cycles, phases
        units         [[unit, label]]
        instructions  [{text, note, phase, heads}], by program counter
        forms         [[[unit number, runs by round]]]; cycles count from the issue on
        templates     [{cycles, alone, runs, operations, gaps, phases, layers, floor}]: `cycles` from a token's start to
                      the next one's, or to the run's end; `alone`, those of a run for this token alone
                      (`Program.cycles`); `runs` [start], one for a resident program; its operations
                      [pc, cycle, form, layer or -1]; the MXM's gaps [start, end, cause, waits for]; and its sums
        tokens        [[start, position, template]]

    Cycles in a template count from the token's start, which is its first issue minus
    `Sequencer.first_issue` cycles.
    """
    config, made = program.config, {}
    units = {unit: number for number, unit in enumerate(rows(config))}
    everything = list(entries(program, position, count))
    instructions = [{"text": str(instruction), "note": instruction.note, "phase": OTHER, "heads": []}
                    for instruction in program.image.instructions]
    forms, templates, tokens = _Numbered(), _Numbered(), []
    by_token = [list(group) for _, group in groupby(everything, key=lambda entry: entry.token)]
    end = run_cycles(everything[-1].issue)
    starts = [_start(config, token[0]) for token in by_token] + [end]
    for token, start, following in zip(by_token, starts, starts[1:], strict=False):
        listed = []
        for entry in token:
            issue = entry.issue
            instructions[issue.pc] |= {"phase": entry.phase, "heads": list(entry.heads)}
            place = place_in_banks(config, issue) if issue.op is Op.MOVE else 0
            key = (issue.pc, place, *((use.cycles - issue.cycle).tobytes() for use in entry.uses))
            if key not in made:
                made[key] = forms.number(_form(config, entry, units))
            listed.append([issue.pc, issue.cycle - start, made[key], -1 if entry.layer is None else entry.layer])
        key = (tuple(map(tuple, listed)), following - start)
        if key not in templates.known:
            templates.number(key, _template(program, token, start, following, listed))
        tokens.append([start, token[0].issue.position, templates.known[key]])
    return {
        "name": program.name, "config": config.name, "rows": config.rows, "cols": config.cols, "cycles": end,
        "phases": [*(phase.value for phase in Phase), OTHER],
        "units": [*((unit, unit.label) for unit in units), *bus_rows(config)],
        "instructions": instructions, "forms": forms.values, "templates": templates.values, "tokens": tokens,
    }


def _start(config, first):
    """The cycle in which a token or a run begins, from the first of its entries."""
    return first.issue.cycle - Sequencer.first_issue(config)


class _Numbered:
    """A list of distinct values, numbered in the order in which they are added."""

    def __init__(self):
        self.values, self.known = [], {}

    def number(self, key, value=None):
        if key not in self.known:
            self.known[key] = len(self.values)
            self.values.append(key if value is None else value)
        return self.known[key]


def _form(config, entry, units):
    """The cycles in which an entry uses each unit, counted from its issue: ((number of the unit,
    ((runs of a round), ...)), ...). The rows of the bus follow those of the units."""
    rounds = max(len(entry.heads), 1)
    found = []
    for use in entry.uses:
        if use.unit not in units:
            continue
        cycles = use.cycles - entry.issue.cycle
        parts = cycles.reshape(rounds, -1) if len(cycles) % rounds == 0 and use.unit.facts.kind is not Kind.ENGINE else [cycles]
        found.append((units[use.unit], tuple(tuple(map(tuple, runs(part))) for part in parts)))
    for row, cycles in enumerate(bus_uses(config, entry.issue), len(units)):
        if cycles.size:
            found.append((row, (tuple(map(tuple, runs(cycles - entry.issue.cycle))),)))
    return tuple(found)


def _template(program, token, start, end, listed):
    config, graph, macs = program.config, program.graph, Counter()
    idle = gaps(program, token, start, end)
    for operation in graph.operations if graph else ():
        macs[operation.phase.value] += graph.macs_of(operation, token[0].issue.position)
    phases, layers = {}, {}
    for entry in token:
        beats = {unit: entry.cycles(unit) for unit in (Unit.MXM_BEAT, Unit.VXM_BEAT, Unit.SFU_BEAT)}
        row = phases.setdefault(entry.phase, {"name": entry.phase, "mxm": 0, "vxm": 0, "sfu": 0, "idle": 0, "floor": 0})
        for unit, cycles in beats.items():
            row[unit] += len(cycles)
        if entry.layer is not None and beats[Unit.MXM_BEAT].size:
            first = int(beats[Unit.MXM_BEAT][0]) - start
            layer = layers.setdefault(entry.layer, {"name": entry.layer, "start": first, "mxm": 0})
            layer["mxm"] += len(beats[Unit.MXM_BEAT])
            layer["end"] = int(beats[Unit.MXM_BEAT][-1]) + 1 - start
    for gap in idle:
        if gap.before:
            phases[gap.before.phase]["idle"] += gap.end - gap.start
    for name, row in phases.items():
        row["floor"] = round(macs[name] / config.macs, 2)
    runs_of_token = [_start(config, next(inside)) - start for _, inside in groupby(token, key=lambda entry: entry.run)]
    alone = program.cycles(token[0].issue.position) if program.model else end - start
    return {
        "cycles": end - start, "alone": alone, "runs": runs_of_token, "operations": listed,
        "gaps": [[gap.start - start, gap.end - start, gap.cause, gap.waits_for] for gap in idle],
        "phases": list(phases.values()), "layers": list(layers.values()),
        "floor": round(sum(macs.values()) / config.macs, 2),
    }


def text(program: Program, position: int = 0, count: int = 1) -> Iterator[str]:
    """The timetable as lines of text: one for each entry, with the first and the last cycle in
    which it uses each unit, as `disassemble` says them."""
    yield f"{'issue':>8} {'position':>8} {'layer':>5}  {'phase':<11}{'entry':<20}when"
    for entry in entries(program, position, count):
        issue = entry.issue
        layer = "" if entry.layer is None else entry.layer
        yield (f"{issue.cycle:>8} {issue.position:>8} {layer:>5}  {entry.phase:<11}"
               f"{issue.instruction.note or issue.op.name:<20}{', '.join(spans(entry.uses))}")
