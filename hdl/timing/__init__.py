"""Timing: which unit of the tile does what in which cycle, and the rules that a program keeps.

unit       the units of the tile and what is known of each
distances  cycles from an issue to the next issue and to the first beat
walk       `trace`: the issues of a run
beats      cycles and addresses of an instruction's beats
uses       `uses`: what an issue does to each unit, cycle by cycle
issues     rules for one issue, and for what one leaves to the next
violation  `Violation`: a broken rule
within     rules within one VXM instruction
bounds     the rule that addresses lie in their memory
addresses  the same for every position and token
rules      `violations` and `check`: whether a program keeps the rules
turns      the issues of a run without turns of a loop that repeat the last one
shapes     what issues that differ in cycle and place only have in common
rows       the uses of a run as arrays
prove      `Prover`: a quick proof that a program keeps the rules
"""

from .addresses import address_violations, check_addresses
from .beats import Granules, beats, cached_word, mxm_addresses, mxm_interval, reads_pairs, vxm_granules, vxm_parts
from .distances import engine_start, issue_cycles, mxm_beat, next_issue, sfu_beat, vxm_beat
from .issues import checked
from .prove import Prover, Run
from .rules import check, violations
from .turns import Turns, abridged
from .unit import MEMORY_ROWS, PROBED, ROWS, VXM_ENGINES, Access, Facts, Kind, Memory, Unit, rows
from .uses import Use, uses
from .violation import Violation
from .walk import ISSUE_LIMIT, Issue, ProgramError, blocks, run_cycles, trace

__all__ = [
    "ISSUE_LIMIT",
    "MEMORY_ROWS",
    "PROBED",
    "ROWS",
    "VXM_ENGINES",
    "Access",
    "Facts",
    "Granules",
    "Issue",
    "Kind",
    "Memory",
    "ProgramError",
    "Prover",
    "Run",
    "Turns",
    "Unit",
    "Use",
    "Violation",
    "abridged",
    "address_violations",
    "beats",
    "blocks",
    "cached_word",
    "check",
    "check_addresses",
    "checked",
    "engine_start",
    "issue_cycles",
    "mxm_addresses",
    "mxm_beat",
    "mxm_interval",
    "next_issue",
    "reads_pairs",
    "rows",
    "run_cycles",
    "sfu_beat",
    "trace",
    "uses",
    "violations",
    "vxm_beat",
    "vxm_granules",
    "vxm_parts",
]
