"""Proofs that a mutation changes nothing that leaves its slice."""

from pathlib import Path

from marey.boards.tools import ToolError, run

SCRIPT = """
read_rtlil flat.il
chformal -remove
copy {module} gate
mutate {command}
memory_nordff
memory_map
async2sync
dffunmap
splitcells
opt_clean -purge
equiv_make {module} gate equiv
hierarchy -top equiv
{struct}
equiv_simple -short
equiv_induct -seq 2
equiv_status -assert
"""
"""Yosys's proof: each register and output of the mutated slice has the value of the original's, in each cycle."""
STRUCT = ("equiv_struct -icells", "")
"""Yosys pairs cells of the two slices first, or it does not. With pairs a proof is quicker; it fails if two cells are
paired that differ in an input which does not matter."""
LIMIT_S = 60
"""Seconds after which a proof is given up."""


def equivalent(folder: Path, command: str) -> bool:
    """Whether Yosys proves that a slice with a mutation does what the original does.

    `folder`: of the slice, with its netlist; `command`: the options of `mutate`. False if the slice differs, or
    if the registers do, even though that may never be seen.
    """
    module = command.split("-module ")[1].split()[0]
    return any(_proves(folder, SCRIPT.format(module=module, command=command.replace(module, "gate", 1), struct=struct))
               for struct in STRUCT)


def _proves(folder, script):
    (folder / "equivalence.ys").write_text(script)
    try:
        run(folder, "yosys", "-q", "-s", "equivalence.ys", limit_s=LIMIT_S)
    except ToolError:
        return False
    return True
