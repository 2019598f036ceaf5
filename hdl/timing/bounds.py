"""The rule that addresses lie in their memory, and reads of MEM in the window of their port."""

import numpy as np

from ..spec.config import Config
from .unit import Access, Unit
from .uses import Use
from .violation import Violation
from .walk import Issue


def out_of_bounds(config: Config, pairs: list[tuple[Issue, Use]], unit: Unit, access: Access) -> list[Violation]:
    """Addresses of uses of a unit that are outside its memory, or outside the window of MEM that a port can read.

    The first of each use is listed. `access`: the unit's.
    """
    depth, window = access.depth(config), config.windows.get(access.window)
    found = []
    for issue, use in pairs:
        wrong = [(use.addresses >= depth, f"{depth} entries")]
        if window:
            bounds = f"window of {window.depth} entries from {window.first} on"
            wrong.append((~window.holds(use.addresses), bounds))
        for outside, bounds in wrong:
            for i in np.flatnonzero(outside)[:1]:
                what = f"{unit} address {use.addresses[i]} is outside its {bounds}"
                found.append(Violation(what, int(use.cycles[i]), issue.pc))
    return found
