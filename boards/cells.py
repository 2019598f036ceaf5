"""Simulation models of the FPGAs' cells: those of Yosys, and those in cells.v for what Yosys leaves empty."""

import re
from pathlib import Path

from .tools import share

CELLS = Path(__file__).with_name("cells.v")

LINT = ("MODDUP", "SPECIFYIGN", "TIMESCALEMOD", "PINMISSING", "IMPLICIT", "WIDTH", "SELRANGE", "MULTITOP", "BLKSEQ",
        "COMBDLY", "INITIALDLY", "STMTDLY", "UNSIGNED", "CMPCONST", "LATCH", "NOLATCH", "MULTIDRIVEN", "DECLFILENAME")
"""Warnings that Verilator gives for the vendors' cell models, which were written for other simulators."""

_RAM = {
    **{f"{name}{side}": (width, "output" if name == "DO" else "input") for side in "AB" for name, width in
       (("CLK", 0), ("CE", 0), ("OCE", 0), ("WE", 0), ("RST", 0), ("AD", 14), ("DI", 18), ("DO", 18), ("CS", 3))},
}
_MULTIPLIER = {
    "A": (18, "input"), "B": (18, "input"), "C": (18, "input"), "P": (36, "output"),
    **{f"{name}{index}": (0, "input") for name in ("CLK", "CE", "RST") for index in range(4)},
    **dict.fromkeys(("SIGNEDA", "SIGNEDB", "SOURCEA", "SOURCEB"), (0, "input")),
}
"""Ports, {name: (bits, direction)}. 0 bits: the port is no vector."""

_INITS = [f"INITVAL_{index:02X}" for index in range(64)]


def cell_models(is_ecp5: bool) -> str:
    """The Verilog of an FPGA's cells, of an ECP5 or an iCE40. ToolError if Yosys is not installed."""
    own = CELLS.read_text() + (_ecp5_cells() if is_ecp5 else "")
    return own + "\n" + _included(share("yosys") / ("ecp5" if is_ecp5 else "ice40"), "cells_sim.v")


def _included(folder, name):
    """The text of a Verilog file, with the files that it includes in their places."""
    return re.sub(r'^`include "(.*)"$', lambda found: _included(folder, found[1]), Path(folder, name).read_text(),
                  flags=re.MULTILINE)


def _ecp5_cells():
    """The Verilog of DP16KD and MULT18X18D: modules with a port for each bit, around the models in cells.v.

    They accept all parameters of the cells; the models use only some of them.
    """
    ram_facts = {"DATA_WIDTH_A": "18", "DATA_WIDTH_B": "18", "WRITEMODE_A": '"NORMAL"', "WRITEMODE_B": '"NORMAL"'}
    ram_rest = dict.fromkeys(("REGMODE_A", "REGMODE_B", "RESETMODE", "ASYNC_RESET_RELEASE", "CSDECODE_A", "CSDECODE_B",
                              "CLKAMUX", "CLKBMUX", "GSR"), '""')
    inits = {f"[319:0] {name}": "0" for name in _INITS}
    registers = {f"REG_{name}_CLK": '"NONE"' for name in ("INPUTA", "INPUTB", "PIPELINE", "OUTPUT")}
    rest = {f"REG_{name}_{of}": '""' for name in ("INPUTA", "INPUTB", "INPUTC", "PIPELINE", "OUTPUT") for of in ("CE", "RST")}
    rest |= {f"CLK{index}_DIV": '""' for index in range(4)} | {"REG_INPUTC_CLK": '""'}
    rest |= dict.fromkeys(("HIGHSPEED_CLK", "GSR", "CAS_MATCH_REG", "SOURCEB_MODE", "MULT_BYPASS", "RESETMODE"), '""')
    unused = {"OCEA", "OCEB", "CSA", "CSB"}
    return (_cell("DP16KD", _RAM, ram_facts | ram_rest | inits, "ecp5_ram", ram_facts, unused,
                  f".INIT({{{', '.join(reversed(_INITS))}}})")
            + _cell("MULT18X18D", _MULTIPLIER, registers | rest, "ecp5_multiplier", registers,
                    {"C", "SOURCEA", "SOURCEB"} | {f"{name}{index}" for name in ("CLK", "CE", "RST") for index in (1, 2, 3)}))


def _cell(name, ports, parameters, model, passed, unused, *more):
    """The Verilog of module `name`, a wrapper around module `model`.

    The wrapper has a port for each bit; the model has vectors. `ports`: {name: (bits, direction)}.
    `parameters`: of the wrapper, {name: default}. `passed`: names of parameters that it hands to the
    model. `unused`: ports that the model does not have. `more`: further parameters of the model, as
    Verilog text.
    """
    bits = {port: [f"{port}{index}" for index in range(width)] or [port] for port, (width, _) in ports.items()}
    listed = ", ".join(f"{ports[port][1]} {bit}" for port in ports for bit in bits[port])
    heads = ", ".join(f"parameter {parameter} = {value}" for parameter, value in parameters.items())
    settings = ", ".join([*(f".{parameter}({parameter})" for parameter in passed), *more])
    wires = ", ".join(f".{port}({{{', '.join(reversed(bits[port]))}}})" for port in ports if port not in unused)
    return f"module {name} #({heads}) ({listed});\n  {model} #({settings}) model({wires});\nendmodule\n"
