"""Faults planted into the hardware, to see that the proofs find them."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Fault:
    """A change of one place in the source: `old`, which stands there once, becomes `new`."""

    file: str
    old: str
    new: str


def run_planted(folder: Path, fault: Fault, *arguments: str) -> subprocess.CompletedProcess:
    """Runs `python -m tests.formal` with arguments on a copy of the hardware that has a fault.

    `folder`: an empty folder, for the copy and what the proofs leave.
    """
    package = folder / "marey"
    shutil.copytree(ROOT / "hdl", package / "hdl", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("sim", "sw", "boards"):
        (package / name).symlink_to(ROOT / name)
    (folder / "tests").symlink_to(ROOT / "tests")
    path = package / fault.file
    text = path.read_text()
    if text.count(fault.old) != 1:
        raise ValueError(f"{fault.file} should have {fault.old!r} once, and has it {text.count(fault.old)} times")
    path.write_text(text.replace(fault.old, fault.new))
    return subprocess.run([sys.executable, "-m", "tests.formal", *arguments], cwd=folder, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(folder)})
