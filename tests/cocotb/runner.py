"""Builds a component with Verilator and runs a cocotb testbench on it."""

import os
import shutil
from pathlib import Path

import pytest
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

from marey.hdl import verilog
from tests.cocotb.build import build

SEED = os.environ.get("COCOTB_RANDOM_SEED", "1" if os.environ.get("CI") else None)
"""CI draws the same every time, as it does of Hypothesis (`tests/conftest.py`)."""


def run(component, bench: str, folder: Path, **settings) -> None:
    """Runs the cocotb tests of module `bench` on a component; fails if one of them does, or none ran.

    `settings` reach the testbench as environment variables. Assertions of the design are on. The folder keeps Verilog,
    log and results; the seed is in the log, and COCOTB_RANDOM_SEED repeats it. COCOTB_WAVES=1 leaves a waveform.
    """
    waves = bool(os.environ.get("COCOTB_WAVES"))
    build(verilog.convert(component), folder, waves)
    if not passes(folder, bench, waves, **settings):
        pytest.fail((folder / "test.log").read_text()[-5000:])
    shutil.rmtree(folder, ignore_errors=True)


def passes(folder: Path, bench: str, waves: bool, **settings) -> bool:
    """Runs the cocotb tests of module `bench` on what `build` has left in a folder. Whether all pass, and there are any."""
    environment = {name: str(value) for name, value in settings.items()} | {"PYTHONPATH": str(Path(__file__).parents[2])}
    try:
        results = get_runner("verilator").test(
            hdl_toplevel=verilog.TOP, hdl_toplevel_lang="verilog", test_module=f"tests.cocotb.{bench}", build_dir=folder,
            waves=waves, test_dir=folder, results_xml=str((folder / "results.xml").resolve()), seed=SEED, extra_env=environment,
            log_file=folder / "test.log")
    except SystemExit:
        return False
    ran, failed = get_results(Path(results))
    return ran > 0 and failed == 0
