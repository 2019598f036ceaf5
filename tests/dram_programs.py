"""For each rule of an SDRAM, a sequence of commands whose last one breaks it, and no other rule. By name of the rule."""

from marey.hdl.spec.dram_rules import Action, Command
from tests.dram import TIMING

ACTIVATE, READ, WRITE, PRECHARGE, REFRESH, MODE = (Command[name] for name in (
    "ACTIVATE", "READ", "WRITE", "PRECHARGE", "REFRESH", "MODE"))
T = TIMING
_OPEN = Action(1, ACTIVATE, 0, 3)
_READ, _WRITE = Action(1 + T.rcd, READ, 0), Action(1 + T.rcd, WRITE, 0)

BREAKS = {
    "tRCD": [_OPEN, Action(T.rcd, READ, 0)],
    "tRP": [_OPEN, Action(20, PRECHARGE, 0), Action(19 + T.rp, ACTIVATE, 0, 5)],
    "tRAS": [_OPEN, Action(T.ras, PRECHARGE, 0)],
    "tRC": [_OPEN, Action(1 + T.ras, PRECHARGE, 0), Action(T.rc, ACTIVATE, 0, 5)],
    "tRRD": [_OPEN, Action(T.rrd, ACTIVATE, 1, 5)],
    "tRFC": [Action(1, REFRESH), Action(T.rfc, ACTIVATE, 2, 5)],
    "tWR": [_OPEN, _WRITE, Action(_WRITE.cycle + 8 + T.wr - 2, PRECHARGE, 0)],
    "tMRD": [Action(1, MODE), Action(T.mrd, REFRESH)],
    "read to precharge": [_OPEN, _READ, Action(_READ.cycle + 7, PRECHARGE)],
    "burst": [_OPEN, Action(1 + T.rrd, ACTIVATE, 1, 5), Action(10, READ, 0, 8), Action(17, READ, 1, 16)],
    "turn-round": [_OPEN, _READ, Action(_READ.cycle + T.cas + 8, WRITE, 0, 8)],
    "row closed": [_OPEN, Action(10, READ, 1)],
    "row open": [_OPEN, Action(1 + T.rc, ACTIVATE, 0, 5)],
    "open too long": [_OPEN, Action(2 + T.ras_most, PRECHARGE)],
    "retention": [_OPEN, Action(20, PRECHARGE), Action(2 + T.retention, ACTIVATE, 0, 3)],
    "command bus": [_OPEN, Action(1, PRECHARGE, 1)],
}
