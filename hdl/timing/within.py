"""The rules within one VXM instruction: what one of its beats leaves to a later one.

The emulator executes an instruction as a whole, with `plus` round by round. So a beat must not read
what an earlier beat of the same instruction has written, unless with `plus` in an earlier round. An
instruction with `then` is executed as its two parts (`marey.hdl.spec.chained`): one reads as x what the other
writes, and neither reads anything else that the instruction writes.
"""

from itertools import product

import numpy as np

from ..spec.isa import Then
from .unit import Unit
from .uses import Use
from .violation import Violation
from .walk import Issue

OWN = {(Unit.MEM_WRITE, Unit.X_READ): "MEM granule", (Unit.MEM_WRITE, Unit.Y_READ): "MEM granule",
       (Unit.REDUCTION_WRITE, Unit.VXM_SCALAR_READ): "scalar"}
"""What a VXM can write and read itself: {(unit that writes, unit that reads): name of an entry}."""


def own_reads(issue: Issue, used: list[Use]) -> list[Violation]:
    """The first beat of a VXM that reads a MEM granule or a scalar that an earlier beat has written.

    `used`: all uses of the issue. With `plus`, only writes of the same round count.
    """
    found = []
    for (write, read), name in OWN.items():
        writes, reads = ([use for use in used if use.unit is unit] for unit in (write, read))
        for written, of in product(writes, reads):
            found += own_read(issue, written, of, name)
    return found[:1]


def own_read(issue: Issue, written: Use, read: Use, name: str) -> list[Violation]:
    """The same for one pair of uses; `name`: what they write and read."""
    apart = written.chained != read.chained
    if apart and (read.unit is Unit.X_READ or (read.chained and issue.operands["then"] is Then.SQUARES)):
        return []
    low, high = written.addresses.min(), written.addresses.max()
    near = (read.addresses >= low) & (read.addresses <= high)
    if not near.any():
        return []
    writes, reads = written.addresses, read.addresses
    if issue.operands["plus"]:
        # Numbers of entry and round together.
        outer = issue.operands["outer"]
        writes, reads = (numbers * outer + np.arange(outer).repeat(len(numbers) // outer) for numbers in (writes, reads))
    entries, first = np.unique(writes, return_index=True)
    at = np.minimum(np.searchsorted(entries, reads), len(entries) - 1)
    beats = (written.cycles - written.delay)[first]
    wrong = np.flatnonzero((entries[at] == reads) & ((beats[at] < read.cycles) | apart))
    return [Violation(f"{name} {read.addresses[i]} is read, which an earlier beat of the instruction writes",
                      int(read.cycles[i]), issue.pc) for i in wrong[:1]]
