"""The open tools that make bitstreams: from PATH, or else from their YoWASP wheels."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

from ..hdl.spec.errors import MareyError


class ToolError(MareyError):
    """A tool is missing, or failed."""

    exit_code = 1


class ToolTimeout(ToolError):
    """A tool did not end in its time."""


def find(tool: str) -> str:
    """The program that `tool` is here; ToolError if it is nowhere."""
    wheel = f"yowasp-{tool}"
    found = shutil.which(tool) or shutil.which(wheel) or shutil.which(str(Path(sys.executable).with_name(wheel)))
    if found is None:
        raise ToolError(f"{tool} is not on PATH: install it, or its wheel with: pip install 'marey[boards]'")
    return found


def run(folder: Path, tool: str, *arguments: str, limit_s: float | None = None) -> None:
    """Runs a tool in a folder, which is all that a YoWASP tool sees. ToolError, with its last line, if it fails, and
    ToolTimeout if it has not ended after `limit_s` seconds.

    What it says is in the folder, in `<tool>.log`, as it says it.
    """
    log = Path(folder, f"{tool}.log")
    with log.open("w") as file:
        try:
            done = subprocess.run([find(tool), *arguments], cwd=folder, stdout=file, stderr=subprocess.STDOUT, timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise ToolTimeout(f"{tool} did not end within {limit_s:g} seconds (see {log})") from None
    if done.returncode:
        said = log.read_text(errors="replace").splitlines()
        errors = [line for line in said if "ERROR" in line] or said[-1:] or ["no message"]
        raise ToolError(f"{tool} failed: {errors[-1].strip()} (see {log})")


def share(tool: str) -> Path:
    """The folder of data files that the tool's installation has: `share/<tool>` beside a program, or its wheel's."""
    program = Path(find(tool))
    if program.name.startswith("yowasp-"):
        return Path(importlib.util.find_spec(f"yowasp_{tool}").origin).with_name("share")
    return program.resolve().parents[1] / "share" / tool
