"""Builds a component with Verilator and runs a cocotb testbench on it."""

import os
import shlex
import shutil
from pathlib import Path

import pytest
from cocotb_tools import config
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

from marey.hdl import verilog
from marey.sim.toolchain import Tools, tools

SEED = os.environ.get("COCOTB_RANDOM_SEED", "1" if os.environ.get("CI") else None)
"""CI draws the same every time, as it does of Hypothesis (`tests/conftest.py`)."""
LINT = ["ASCRANGE", "CASEINCOMPLETE", "UNOPTFLAT", "WIDTHEXPAND", "WIDTHTRUNC"]


def _link(kit: Tools, folder: Path, monkeypatch) -> None:
    """Makes Verilator and cocotb known by paths in `folder`.

    make divides paths at spaces, which those of a virtual environment may have; and Verilator's Perl script does so, too:
    the program `verilator` on PATH is a script that calls what the script would call.
    """
    folder.mkdir()
    for name, target in (("verilator", kit.root), ("libs", config.libs_dir), ("share", config.share_dir)):
        (folder / name).symlink_to(target, target_is_directory=True)
    program = folder / "bin" / "verilator"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.join(kit.verilator)} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(program.parent), kit.environment["PATH"]]))
    monkeypatch.setenv("VERILATOR_ROOT", str(folder / "verilator"))
    monkeypatch.setattr(config, "libs_dir", folder / "libs")
    monkeypatch.setattr(config, "share_dir", folder / "share")


def run(component, bench: str, folder: Path, monkeypatch, **settings) -> None:
    """Runs the cocotb tests of module `bench` on a component; fails if one of them does, or none ran.

    `settings` reach the testbench as environment variables. Assertions of the design are on. The folder keeps Verilog,
    log and results; the seed is in the log, and COCOTB_RANDOM_SEED repeats it. COCOTB_WAVES=1 leaves a waveform.
    """
    _link(tools(), folder / "links", monkeypatch)
    # Larger designs fail on a precompiled header that the wheel's makefiles misname; and to compile takes longer than to run.
    monkeypatch.setenv("MAKEFLAGS", "CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O0 OPT_SLOW=-O0 OPT_GLOBAL=-O0")
    source = folder / "design.v"
    source.write_text(verilog.convert(component))
    waves = bool(os.environ.get("COCOTB_WAVES"))
    runner = get_runner("verilator")
    runner.build(sources=[source], hdl_toplevel=verilog.TOP, build_dir=folder, always=True, waves=waves,
                 build_args=["--assert", *(f"-Wno-{name}" for name in LINT)], log_file=folder / "build.log")
    try:
        results = runner.test(hdl_toplevel=verilog.TOP, test_module=f"tests.cocotb.{bench}", build_dir=folder, waves=waves,
                              test_dir=folder, results_xml=str((folder / "results.xml").resolve()), seed=SEED,
                              extra_env={name: str(value) for name, value in settings.items()} | {
                                  "PYTHONPATH": str(Path(__file__).parents[2])}, log_file=folder / "test.log")
    except SystemExit:
        pytest.fail((folder / "test.log").read_text()[-5000:])
    ran, failed = get_results(Path(results))
    assert ran > 0 and failed == 0, (folder / "test.log").read_text()[-5000:]
    shutil.rmtree(folder, ignore_errors=True)
