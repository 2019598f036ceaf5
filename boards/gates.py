"""A tile after synthesis: its netlist, simulated at the ports of its link."""

from pathlib import Path

from ..hdl.spec.config import Config
from ..hdl.tile import Tile
from ..sim.simulation import quiet_cycles
from ..sim.verilator import PATIENCE, VerilatorTransport
from .cells import LINT, cell_models
from .flow import synthesise_alone


def open_gates(config: Config, fpga: str, folder: Path, patience: int = PATIENCE) -> VerilatorTransport:
    """A simulation of the netlist of a tile alone, made of an FPGA's cells; it has no assertions.

    `fpga`: a key of `marey.boards.flow.ALONE`. `folder`, which is made if it is not there, keeps the
    netlist. `patience`: see `Simulation`. The first call for a configuration takes minutes. ToolError
    if Yosys fails, BackendError if Verilator or the compiler does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    synthesise_alone(Tile(config), folder, fpga)
    text = Path(folder, "netlist.v").read_text() + cell_models(fpga == "ecp5")
    return VerilatorTransport(text, name=f"{config.name} in cells of {fpga}", patience=patience, quiet=quiet_cycles(config),
                              gates=True, lint=LINT)
