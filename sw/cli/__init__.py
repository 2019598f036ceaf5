"""The command line: `marey VERB`. Errors are one line on stderr; status 2 for bad input, 1 for a failed run."""

from . import boards, models, text, tile, timetable
from .base import main

__all__ = ["boards", "main", "models", "text", "tile", "timetable"]
