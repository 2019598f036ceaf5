"""Compiles a component for cocotb: Verilog to a program that has cocotb's library in it."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import cocotb_tools.config as cocotb_files

from marey.hdl import verilog
from marey.sim.cache import digest, kept
from marey.sim.toolchain import Tools, tools

LINT = ["ASCRANGE", "CASEINCOMPLETE", "UNOPTFLAT", "WIDTHEXPAND", "WIDTHTRUNC"]
# Only the ports are public: with every signal public, the C++ is four times as long and takes eight times as long to compile.
VERILATE = ["--cc", "-Mdir", ".", "--prefix", "Vtop", "--top-module", verilog.TOP, "--vpi", "--public-depth", "1", "--assert",
            *(f"-Wno-{name}" for name in LINT)]
# To optimise takes longer than it saves: a testbench runs for a second.
COMPILE = ["-std=c++17", "-O0", "-I.", "-DVERILATOR=1", "-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TIMING=0", "-DVM_TRACE_FST=0",
           "-DVM_TRACE_SAIF=0"]
RUNTIME = ["verilated", "verilated_dpi", "verilated_threads", "verilated_vpi"]
MAIN = cocotb_files.share_dir / "lib" / "verilator" / "verilator.cpp"


def build(text: str, folder: Path, waves: bool) -> None:
    """Compiles Verilog that `marey.hdl.verilog.convert` wrote to the program `marey_tile` in a folder.

    Assertions of the design are on. `waves`: whether the program can write a waveform. The folder keeps the Verilog as
    design.v. AssertionError with what the tool printed, if one fails.
    """
    kit = tools()
    (folder / "design.v").write_text(text)
    _run([*kit.verilator, *VERILATE, *(["--trace-vcd"] if waves else []), "design.v"], folder, kit.environment)
    # One source file for model and main program: they share headers that take longer to compile than they do.
    sources = [*sorted(path.name for path in folder.glob("Vtop*.cpp")), MAIN]
    (folder / "model.cpp").write_text("".join(f'#include "{source}"\n' for source in sources))
    _compile("model.cpp", folder, kit, waves)
    libraries = cocotb_files.libs_dir
    _run([kit.compiler, "-o", verilog.TOP, "model.o", str(_runtime(kit, waves)), f"-L{libraries}", f"-Wl,-rpath,{libraries}",
          "-lcocotbvpi_verilator", "-pthread"], folder)


def _runtime(kit: Tools, waves: bool) -> Path:
    """Verilator's runtime as one object file, from the cache: it is the same for all designs, and takes long to compile."""
    sources = [*RUNTIME, *(["verilated_vcd_c"] if waves else [])]

    def make(folder):
        (folder / "runtime.cpp").write_text("".join(f'#include "{name}.cpp"\n' for name in sources))
        _compile("runtime.cpp", folder, kit, waves)
        return folder / "runtime.o"

    return kept(digest("cocotb", kit.versions, *COMPILE, *sources), ".o", make)


def _compile(source: str, folder: Path, kit: Tools, waves: bool) -> None:
    include = kit.root / "include"
    _run([kit.compiler, *COMPILE, f"-I{include}", f"-I{include / 'vltstd'}", f"-DVM_TRACE={int(waves)}",
          f"-DVM_TRACE_VCD={int(waves)}", "-c", source], folder)


def _run(command: Sequence[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=folder, env=environment or dict(os.environ), capture_output=True, encoding="utf-8",
                          errors="replace")
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
