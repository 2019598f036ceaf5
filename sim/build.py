"""Verilog to a shared library: Verilator translates it to C++, a C++ compiler compiles that, and
the cache keeps it.

A design is compiled once for each version of it, of the tools and of the flags.
"""

import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..hdl.spec.ports import TOP
from . import rewriting
from .cache import cache_folder, digest, kept
from .files import write_file
from .progress import progress, say
from .simulation import BackendError
from .toolchain import Tools, tools

# Yosys writes correct Verilog in an unusual style; these warnings are about the style.
_LINT = ["ASCRANGE", "CASEINCOMPLETE", "UNOPTFLAT", "WIDTHEXPAND", "WIDTHTRUNC"]
_VERILATE = ["--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--threads", "1", "--no-timing",
             "--prefix", "Vtile", "--Mdir", ".", *(f"-Wno-{name}" for name in _LINT)]
_COMPILE = ["-std=c++17", "-fPIC", "-fvisibility=hidden", "-I.", "-DVERILATOR=1", "-DVM_COVERAGE=0", "-DVM_SC=0",
            "-DVM_TIMING=0", "-DVM_TRACE_FST=0", "-DVM_TRACE_SAIF=0"]
_LEVEL, _GATES_LEVEL, _RUNTIME_LEVEL = "-O1", "-Og", "-O0"
"""How far the compiler optimises a model, a netlist, and Verilator's runtime, of which little is called in a cycle. A model at
-O2 takes half as long again to compile, and is 4 % faster."""
MODEL = "model"
"""Name of the source file that has a model and its harness."""
_UNOPTIMISED = """#ifdef __clang__
#pragma clang optimize off
#else
#pragma GCC optimize("O0")
#endif
"""
"""What stands before the parts of a model that run once."""
_MEMORY = re.compile(r"VlUnpacked<.*> (\w+__DOT__rows);")
"""A memory in Verilator's header: an array of the module `marey_ram`."""
_RUNTIME = (Path(__file__).with_name("runtime.h"), Path(__file__).with_name("runtime.cpp"))


@dataclass(frozen=True, kw_only=True)
class Design:
    """A Verilog text that is to be simulated, and how.

    ============= ====================================================================
    text          the Verilog
    name          what messages call it
    harness       C++ file around it: the interface of the library
    top           its top module
    checked       whether its assertions are tested, at some cost in speed
    traced        whether the harness can write a waveform
    lint          names of Verilator's warnings to leave out
    gates         whether it is a netlist: a hundred thousand small statements, which go into many
                  C++ functions, because a compiler takes an hour for a long one
    written       whether `marey.hdl.verilog` wrote the text, and the harness never resets it: then
                  it is rewritten before (see `rewriting`)
    ============= ====================================================================
    """

    text: str
    name: str
    harness: Path
    top: str = TOP
    checked: bool = False
    traced: bool = False
    lint: Sequence[str] = ()
    gates: bool = False
    written: bool = False

    @property
    def verilate_flags(self) -> list[str]:
        """Flags of Verilator that depend on the design."""
        return ["--top-module", self.top, *(f"-Wno-{warning}" for warning in self.lint),
                "--assert" if self.checked else "--noassert",
                *(["--trace-vcd", "--trace-depth", "1"] if self.traced else []),
                *(["--output-split-cfuncs", "400"] if self.gates else [])]

    @property
    def has_probe(self) -> bool:
        """Whether the top module has the tile's probe among its ports."""
        return re.search(r"^  output \[\d+:0\] probe;$", self.text, re.MULTILINE) is not None

    @property
    def expected_s(self) -> float:
        """Seconds that a build takes, estimated.

        Measured on one core of a busy server: 3 s for next to no text, 8 to 14 s for the tiles
        up5k_4x4 to sim8x8, whose texts have 0.4 to 1.0 MB, and the first time 8 s for Verilator's
        runtime.
        """
        return 8 + 12 * len(self.text) / 1e6


def missing() -> str | None:
    """Why no simulator can be built here, in one line; None if one can be built."""
    try:
        tools()
        cache_folder()
    except BackendError as error:
        return str(error)
    return None


def build(design: Design) -> Path:
    """The shared library that simulates a design.

    It comes from the cache, or is built now, which takes seconds, and for a netlist minutes.
    BackendError if a tool is missing, or fails, which leaves a log in the cache folder, or if the
    cache cannot be used.
    """
    kit = tools()
    name = digest(design.text, design.harness.read_text(), *_runtime_parts(design.traced, kit), *_VERILATE,
                  *design.verilate_flags, _LEVEL, _GATES_LEVEL, _UNOPTIMISED, *(rewriting.sources() if design.written else ()))

    def make(folder):
        text = f"building the simulator of {design.name}"
        say(f"{text} (once, about {design.expected_s:.0f} seconds) ...")
        with progress(text, design.expected_s):
            return _make(design, kit, folder, cache_folder() / f"{name}.log")

    return kept(name, ".so", make)


def load(library: Path, functions: Mapping[str, tuple]) -> ctypes.CDLL:
    """Loads a library, and gives its functions their types.

    `functions`: {name: (type of the result, [types of the arguments])} for the function
    `marey_NAME`. BackendError if the library cannot be loaded.
    """
    try:
        loaded = ctypes.CDLL(str(library))
    except OSError as error:
        raise BackendError(f"{library} cannot be loaded ({error}): delete it to build it anew") from None
    for name, (result, arguments) in functions.items():
        function = getattr(loaded, f"marey_{name}")
        function.restype, function.argtypes = result, arguments
    return loaded


def _make(design: Design, kit: Tools, folder: Path, log: Path) -> Path:
    """Builds the library in an empty folder, and returns its file."""
    text = rewriting.rewritten(design.text, design.top, design.traced) if design.written else design.text
    (folder / "tile.v").write_text(text)
    translate = [*kit.verilator, *_VERILATE, *design.verilate_flags, "tile.v"]
    _run("Verilator", log, folder, translate, kit.environment)
    shutil.copy(design.harness, folder / "harness.cpp")
    # One source file for all: its parts share headers that take longer to compile than they do.
    parts = sorted(folder.glob("Vtile*.cpp"), key=lambda path: ("__Slow" in path.name, path.name))
    names = ["harness.cpp", *(path.name for path in parts)]
    first_slow = next(index for index, name in enumerate([*names, "__Slow"]) if "__Slow" in name)
    lines = [f'#include "{name}"\n' for name in names]
    (folder / f"{MODEL}.cpp").write_text("".join([*lines[:first_slow], _UNOPTIMISED, *lines[first_slow:]]))
    (folder / "memories.inc").write_text("".join(f"MEMORY({name})\n" for name in _memories(folder)))
    facts = ["-DMAREY_PROBE"] * design.has_probe + ["-DMAREY_GATES"] * design.gates
    _compile(MODEL, design.traced, kit, folder, log, _GATES_LEVEL if design.gates else _LEVEL, facts)
    runtime = _runtime(design.traced, kit, log)
    link = [kit.compiler, "-shared", "-o", "tile.so", f"{MODEL}.o", str(runtime), "-pthread"]
    _run(Path(kit.compiler).name, log, folder, link, dict(os.environ))
    log.unlink(missing_ok=True)
    return folder / "tile.so"


def _memories(folder: Path) -> list[str]:
    """Names of the members of the model's root that are memories, instances of `marey_ram`, for the harness."""
    root = folder / "Vtile___024root.h"
    return _MEMORY.findall(root.read_text()) if root.exists() else []


def _runtime(traced: bool, kit: Tools, log: Path) -> Path:
    """The object file of Verilator's runtime, with or without waveforms, from the cache.

    It is the same for all designs, and takes 8 seconds to compile.
    """
    def make(folder):
        _compile("runtime", traced, kit, folder, log, _RUNTIME_LEVEL)
        return folder / "runtime.o"

    return kept(digest(*_runtime_parts(traced, kit)), ".o", make)


def _runtime_parts(traced, kit):
    """All that the runtime is made from, as texts."""
    return *(file.read_text() for file in _RUNTIME), kit.versions, _RUNTIME_LEVEL, *_COMPILE, str(traced)


def _compile(source: str, traced: bool, kit: Tools, folder: Path, log: Path, level: str, flags: Sequence[str] = ()) -> None:
    """Compiles SOURCE.cpp in a folder to SOURCE.o, optimised at a level; it can include the runtime's header."""
    for file in _RUNTIME:
        shutil.copy(file, folder)
    include = kit.root / "include"
    options = [*_COMPILE, level, f"-I{include}", f"-I{include / 'vltstd'}", f"-DVM_TRACE={int(traced)}",
               f"-DVM_TRACE_VCD={int(traced)}", *flags]
    compiler = kit.for_models if source == MODEL else [kit.compiler]
    _run(Path(compiler[0]).name, log, folder, [*compiler, *options, "-c", f"{source}.cpp"], dict(os.environ))


def _run(tool, log, folder, command, environment):
    """Runs one step of a build in a folder.

    If it fails, what it printed is kept in the log; `tool` is its name.
    """
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8",
                          errors="replace")
    if done.returncode:
        write_file(log, f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        raise BackendError(f"{tool} failed to build the simulator: see {log}, or use --backend emulator")
