"""Finds and runs the open tools (Yosys, nextpnr, packers): those on PATH, or else those of the
YoWASP wheels."""

import importlib.util
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from ..hdl.spec.errors import MareyError
from ..sim.progress import progress


class ToolError(MareyError):
    """A tool is missing, or failed."""

    exit_code = 1


class ToolTimeout(ToolError):
    """A tool was stopped because it took too long."""


def find(tool: str) -> str:
    """Path of the program `tool`, or of its wheel's. ToolError if it is not installed."""
    wheel = f"yowasp-{tool}"
    found = shutil.which(tool) or shutil.which(wheel) or shutil.which(str(Path(sys.executable).with_name(wheel)))
    if found is None:
        raise ToolError(f"{tool} is not on PATH: install it, or its wheel with: pip install 'marey[boards]'")
    return found


def run(folder: Path, tool: str, *arguments: str, limit_s: float | None = None) -> None:
    """Runs a tool in a folder. A YoWASP tool sees no files outside of it, so paths in `arguments`
    are relative.

    What the tool prints goes to `<tool>.log` in the folder while it runs. ToolError, with the
    tool's last error, if it fails; ToolTimeout if it runs for more than `limit_s` seconds, and is
    stopped.
    """
    log = Path(folder, f"{tool}.log")
    with log.open("w") as file:
        try:
            with progress(tool):
                done = subprocess.run([find(tool), *arguments], cwd=folder, stdout=file, stderr=subprocess.STDOUT,
                                      timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise ToolTimeout(f"{tool} did not end within {limit_s:g} seconds (see {log})") from None
    if done.returncode < 0:
        raise ToolError(f"{tool} was ended by {signal.Signals(-done.returncode).name} (see {log}): is there enough memory?")
    if done.returncode:
        lines = log.read_text(errors="replace").splitlines()
        errors = [line for line in lines if "ERROR" in line] or lines[-1:] or ["no message"]
        raise ToolError(f"{tool} failed: {errors[-1].strip()} (see {log})")


def share(tool: str) -> Path:
    """Folder of the data files that are installed with a tool.

    ToolError if the tool is not installed.
    """
    program = Path(find(tool))
    if program.name.startswith("yowasp-"):
        return Path(importlib.util.find_spec(f"yowasp_{tool}").origin).with_name("share")
    return program.resolve().parents[1] / "share" / tool
