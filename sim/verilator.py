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
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import platformdirs
from amaranth.lib.wiring import Component

from ..hdl import verilog
from ..hdl.config import Config
from .simulation import QUIET, BackendError, ScheduleFault, Simulation, quiet_cycles

PATIENCE = 1 << 22
"""Cycles without an answer word after which `receive` gives up: seconds."""

OLDEST = (5, 36)
"""The first Verilator that is known to do."""

HARNESS = Path(__file__).with_suffix(".cpp")

# Yosys writes correct Verilog of odd looks: what it leaves to the language's rules is no mistake.
_LINT = ["ASCRANGE", "CASEINCOMPLETE", "UNOPTFLAT", "WIDTHEXPAND", "WIDTHTRUNC"]
_VERILATE = ["--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--threads", "1", "--no-timing",
             "--prefix", "Vtile", "--top-module", verilog.TOP, "--Mdir", ".", *(f"-Wno-{name}" for name in _LINT)]
_COMPILE = ["-std=c++17", "-fPIC", "-fvisibility=hidden", "-I.", "-DVERILATOR=1", "-DVM_COVERAGE=0", "-DVM_SC=0",
            "-DVM_TIMING=0", "-DVM_TRACE_FST=0", "-DVM_TRACE_SAIF=0"]
# Verilator's runtime at -O2 takes longer to compile than the model, and is no faster than at -O1.
_MODEL, _RUNTIME = ["-O2"], ["-O1"]
