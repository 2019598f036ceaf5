"""The command line: `marey VERB`. An error is one line on stderr, with exit status 2 for bad
usage or input, and 1 for a run that failed."""

from .base import main

__all__ = ["main"]
