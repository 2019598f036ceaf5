"""Draws configurations, programs, data and runs, and compares the emulator with the RTL on the legal ones.

A configuration is simulated for some programs, one after another, so that each program meets what the
runs before it have left. Of a legal program the cycles, the tokens and MEM are compared after each run,
and at the end of a configuration its scalar registers and W-RAM. `python -m tests.programs` runs
campaigns.
"""

from .author import Author, drawn
from .campaign import campaign, simulate
from .configurations import any_configuration
from .found import Found

__all__ = ["Author", "Found", "any_configuration", "campaign", "drawn", "simulate"]
