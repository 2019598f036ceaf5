"""Timing: which unit of the tile does what in which cycle, and the rules that a program keeps.

unit       the units of the tile and what is known of each
distances  cycles from an issue to the next issue and to the first beat
walk       `trace`: the issues of a run
beats      cycles and addresses of an instruction's beats
uses       `uses`: what an issue does to each unit, cycle by cycle
rules      `violations` and `check`: whether a program keeps the rules
"""

from .beats import Granules, beats, cached_word, mxm_addresses, mxm_interval, vxm_granules
from .distances import engine_start, issue_cycles, mxm_beat, next_issue, sfu_beat, vxm_beat
from .rules import Violation, check, entries_of, violations
from .unit import PROBED, ROWS, VXM_ENGINES, Access, Facts, Kind, Memory, Unit
from .uses import Use, uses
from .walk import ISSUE_LIMIT, Issue, ProgramError, blocks, run_cycles, trace

__all__ = [
    "ISSUE_LIMIT", "PROBED", "ROWS", "VXM_ENGINES", "Access", "Facts", "Granules", "Issue", "Kind", "Memory",
    "ProgramError", "Unit", "Use", "Violation", "beats", "blocks", "cached_word", "check", "engine_start",
    "entries_of", "issue_cycles", "mxm_addresses", "mxm_beat", "mxm_interval", "next_issue", "run_cycles",
    "sfu_beat", "trace", "uses", "violations", "vxm_beat", "vxm_granules",
]
