"""Results of synthesis, place and route that are kept in the repository: costs.json and
builds.json.

Only this module knows where the two files are. It needs none of the optional packages.
"""

import json
from pathlib import Path

COSTS = Path(__file__).with_name("costs.json")
"""Results of `marey.boards.cost.cost`, by name of the configuration; `make cost` writes them."""

BUILDS = Path(__file__).with_name("builds.json")
"""Results of `marey.boards.build.build`, by name of the board; `make bitstreams` writes them."""


def costs() -> dict[str, dict]:
    """The recorded cost of bare tiles: {configuration: {"device", "clock_mhz_met", "resources",
    ...}}."""
    return _read(COSTS)


def builds() -> dict[str, dict]:
    """The recorded builds: {board: what `marey.boards.build.build` returned, and the "commit" that
    was built}."""
    return _read(BUILDS)


def _read(file):
    return json.loads(file.read_text()) if file.exists() else {}
