"""The timetable as one page of HTML that needs nothing else: `timetable.html` with a chart in it."""

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np

from ...hdl.timing import ROWS
from ..program.program import Program
from .measure import Measurement
from .report import report
from .timetable import chart, runs

TEMPLATE = Path(__file__).with_name("timetable.html")
MOST = 10_000
"""Differences on a page; the first are what matters."""


def page(program: Program, position: int = 0, count: int = 1, measurement: Measurement | None = None,
         costs: Iterable[dict] = ()) -> str:
    """The page of a run that makes `count` tokens, the first at a position; what was measured is laid over the plan.

    `costs`: results of place and route, for the speeds in the report on the page (`marey.sw.views.report.speeds`).
    """
    drawn = chart(program, position, count)
    if program.model:
        drawn["report"] = [(name, value) for name, value in report(program, position, costs)["summary"].items()]
    if measurement:
        drawn["measured"] = _measured(measurement, [start for start, *_ in drawn["tokens"]])
    # A closing tag within the data would end the script that holds them.
    data = json.dumps(drawn, separators=(",", ":")).replace("</", "<\\/")
    return TEMPLATE.read_text().replace("@DATA@", data)


def _measured(measurement, starts):
    """Forms, [[unit, runs]] from a token's start on, each once; the form of each token; what differs from the plan."""
    units = {unit: number for number, unit in enumerate(ROWS)}
    forms: dict[str, int] = {}
    tokens = []
    for start, end in pairwise([*starts, 1 << 62]):
        form = []
        for unit, cycles in measurement.units.items():
            inside = cycles[np.searchsorted(cycles, start):np.searchsorted(cycles, end)] - start
            if inside.size:
                form.append([units[unit], runs(inside)])
        tokens.append(forms.setdefault(json.dumps(form), len(forms)))
    differences = [[difference.cycle, units[difference.unit], int(difference.planned), int(not difference.planned)]
                   for difference in measurement.differences()[:MOST]]
    return {"cycles": measurement.cycles, "forms": [json.loads(form) for form in forms], "tokens": tokens,
            "differences": differences}
