"""For each rule of an SDRAM, a sequence of commands whose last one breaks it, and no other rule. By name of the rule."""

from marey.hdl.spec.dram_parts import Timing
from marey.hdl.spec.dram_rules import Action, Command
from tests.dram import TIMING

ACTIVATE, READ, WRITE, PRECHARGE, REFRESH, MODE = (Command[name] for name in (
    "ACTIVATE", "READ", "WRITE", "PRECHARGE", "REFRESH", "MODE"))

def breaks(t: Timing) -> dict[str, list[Action]]:
    """For a part with the times of one in `tests.dram.TIMINGS`."""
    words = t.command_words
    opened = Action(1, ACTIVATE, 0, 3)
    read, write = Action(1 + t.rcd, READ, 0), Action(1 + t.rcd, WRITE, 0)
    return {
        "tRCD": [opened, Action(t.rcd, READ, 0)],
        "tRP": [opened, Action(20, PRECHARGE, 0), Action(19 + t.rp, ACTIVATE, 0, 5)],
        "tRAS": [opened, Action(t.ras, PRECHARGE, 0)],
        "tRC": [opened, Action(1 + t.ras, PRECHARGE, 0), Action(t.rc, ACTIVATE, 0, 5)],
        "tRRD": [opened, Action(t.rrd, ACTIVATE, 1, 5)],
        "tRFC": [Action(1, REFRESH), Action(t.rfc, ACTIVATE, 2, 5)],
        "tWR": [opened, write, Action(write.cycle + words + t.wr - 2, PRECHARGE, 0)],
        "tMRD": [Action(1, MODE), Action(t.mrd, REFRESH)],
        "read to precharge": [opened, read, Action(read.cycle + words - 1, PRECHARGE)],
        "burst": [opened, Action(1 + t.rrd, ACTIVATE, 1, 5), Action(10, READ, 0, 8), Action(9 + words, READ, 1, 16)],
        "turn-round": [opened, read, Action(read.cycle + t.cas + words, WRITE, 0, 8)],
        "row closed": [opened, Action(10, READ, 1)],
        "row open": [opened, Action(1 + t.rc, ACTIVATE, 0, 5)],
        "open too long": [opened, Action(2 + t.ras_most, PRECHARGE)],
        "retention": [opened, Action(20, PRECHARGE), Action(2 + t.retention, ACTIVATE, 0, 3)],
        "command bus": [opened, Action(1, PRECHARGE, 1)],
    }


BREAKS = breaks(TIMING)
