"""The timetable as a trace for Perfetto and chrome://tracing: one track a unit, one microsecond a clock cycle.

Format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU (Trace Event Format).
"""

from itertools import groupby

from ...hdl.timing import rows
from ..program.program import Program
from .entries import entries
from .timetable import runs

PROCESS = 1
TOKENS = 1
"""Number of the track of tokens and layers; the tracks of the units follow."""


def trace_events(program: Program, position: int = 0, count: int = 1) -> dict:
    """The trace of a run that makes `count` tokens, the first at a position, as an object for JSON: complete events, which nest
    within a track."""
    listed = list(entries(program, position, count))
    tracks = {unit: TOKENS + 1 + number for number, unit in enumerate(rows(program.config))}
    name = f"{program.name or 'program'} on {program.config.name}; 1 us is 1 clock cycle"
    events = [_named("process_name", 0, name), _named("thread_name", TOKENS, "tokens and layers")]
    events += [_named("thread_name", track, unit.label) for unit, track in tracks.items()]
    for at, token in groupby(listed, key=lambda entry: entry.token):
        token = list(token)
        events.append(_event(f"position {position + at}", TOKENS, token[0].issue.cycle, token[-1].issue.cycle + 1))
        for layer, inside in groupby(token, key=lambda entry: entry.layer):
            inside = list(inside)
            if layer is not None:
                events.append(_event(f"layer {layer}", TOKENS, inside[0].issue.cycle, inside[-1].issue.cycle + 1))
    for entry in listed:
        issue = entry.issue
        facts = {"phase": entry.phase, "instruction": f"{issue.pc}: {issue.instruction}", "issued": issue.cycle}
        for use in (use for use in entry.uses if use.unit in tracks):
            for start, length, stride, times in runs(use.cycles):
                for turn in range(times):
                    first = start + stride * turn
                    events.append(_event(entry.name, tracks[use.unit], first, first + length, facts))
    return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": {"unit": "one microsecond is one clock cycle"}}


def _named(kind, track, name):
    return {"name": kind, "ph": "M", "pid": PROCESS, "tid": track, "args": {"name": name}}


def _event(name, track, start, end, facts=None):
    return {"name": name, "ph": "X", "pid": PROCESS, "tid": track, "ts": int(start), "dur": int(end - start),
            "args": facts or {}}
