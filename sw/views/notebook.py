"""What a notebook shows: reports as tables, and the timetable's page in a frame."""

import html
from collections.abc import Mapping
from pathlib import Path

from ..program.program import Program
from .page import page
from .timetable import text


class Report(dict):
    """A report (see `report.report`), which a notebook shows as a table of its summary."""

    def _repr_html_(self) -> str:
        return table(f"{self['model']} on {self['config']}", self["summary"])

    def __str__(self):
        width = max(map(len, self["summary"]))
        return "\n".join(f"{name:<{width}}  {value}" for name, value in self["summary"].items())


def table(title: str, rows: Mapping[str, object]) -> str:
    """A table of two columns, as HTML."""
    body = "".join(
        f"<tr><th style='text-align:left'>{html.escape(str(name))}</th><td style='text-align:left'>"
        f"{html.escape(str(value))}</td></tr>"
        for name, value in rows.items()
    )
    return f"<table><caption>{html.escape(title)}</caption><tbody>{body}</tbody></table>"


class Timetable:
    """The timetable of one run: the page of `marey timetable`, and its text.

    `position`: of the token, for the program of a model of tokens.
    """

    def __init__(self, program: Program, position: int = 0):
        self.program, self.position = program, position

    @property
    def html(self) -> str:
        """The page, which needs nothing else."""
        return page(self.program, self.position)

    def save(self, path: str | Path) -> None:
        """Writes the page to a file."""
        Path(path).write_text(self.html, encoding="utf-8")

    def __str__(self):
        return "\n".join(text(self.program, self.position))

    def _repr_html_(self) -> str:
        return (f'<iframe srcdoc="{html.escape(self.html)}" style="width:100%;height:640px;border:0" '
                'title="timetable"></iframe>')
