"""The timetable as one page of HTML that needs nothing else: the files of the folder `web`, with a chart in them."""

import json
import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np

from ...hdl.timing import ROWS
from ..program.program import Program
from .measure import Measurement
from .report import report
from .timetable import chart, runs

WEB = Path(__file__).with_name("web")
SCRIPTS = ("data", "view", "bars", "heat", "chart", "tip", "measure", "search", "side", "floorplan", "keys", "main")
"""The page's scripts, in the order in which they run: all share one scope, and `main` starts the page."""
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
    parts = {"DATA": json.dumps(drawn, separators=(",", ":")).replace("</", "<\\/"), "STYLE": _web("page.css"),
             "SCRIPT": "".join(_web(f"{name}.js") for name in SCRIPTS)}
    return filled(_web("page.html"), parts)


def filled(html: str, parts: dict[str, str]) -> str:
    """A page with its parts in the places that are marked @NAME@."""
    return re.sub(f"@({'|'.join(parts)})@", lambda match: parts[match[1]], html)


def _web(name):
    return (WEB / name).read_text(encoding="utf-8")


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
