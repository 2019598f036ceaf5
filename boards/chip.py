"""The model of an SDRAM chip at the pins of a simulated board."""

import re
from dataclasses import dataclass

from ..hdl.dram.pins import Pins
from ..hdl.spec.dram_parts import Timing
from ..hdl.spec.ports import TOP
from ..hdl.verilog import convert
from ..sim.sdram import SdramModel
from .board import Board
from .flow import NAME

CHIP = "sdram_chip"
"""The module of the chip's model."""


@dataclass(frozen=True)
class Attached:
    """What connects a chip to a netlist.

    `netlist`: the text, with outputs for what the board drives onto the data bus; `ports`: connections of the instance of
    the netlist; `wires`: statements beside it; `models`: modules of the chip.
    """

    netlist: str
    ports: str = ""
    wires: str = ""
    models: str = ""


def attached(board: Board, netlist: str) -> Attached:
    """The model of a board's SDRAM, connected to the pins of the board's netlist; nothing for a netlist without SDRAM.

    Verilator does not simulate a bus with two drivers. So the netlist is rewritten: the cell of each pin of the data bus says
    what it drives, and whether (`TRELLIS_IO` in cells.v).
    """
    name = "{}_{}".format(*board.sdram)
    if not board.tile.memory or f"{name}__dq__io" not in netlist:
        return Attached(netlist)
    rate, timing = board.tile.memory.rate, board.tile.memory.chip
    bus = f"[{timing.part.bus_bits - 1}:0]"
    text = re.sub(rf"^( *)\.B\({name}__dq__io(\[\d+\])\),$",
                  rf"\g<0>\n\1.OUT({name}__dq__out\2),\n\1.DRIVES({name}__dq__drives\2),", netlist, flags=re.MULTILINE)
    outputs = f"{name}__dq__out, {name}__dq__drives"
    text = re.sub(rf"^module {NAME}\((.*?\);\n)", rf"module {NAME}({outputs}, \1  output {bus} {outputs};\n", text, count=1,
                  flags=re.MULTILINE | re.DOTALL)
    names = [pin.name for pin in board.platform().resources[board.sdram].ios]
    ports = "".join(f", .{name}__{pin}__io(chip_{pin})" for pin in names)
    return Attached(text, f"{ports}, .{name}__dq__out(chip_out), .{name}__dq__drives(chip_drives)", _wires(timing, names, rate),
                    _models(timing))


def _wires(timing: Timing, names: list[str], rate: int) -> str:
    """Wires, `chip_` and the name of each pin, and the chip that they lead to.

    `rate`: cycles of the chip in one of the tile's. At 2 the chip's clock rises in the middle of a half of the tile's cycle,
    and the words take a cycle of it more to the tile's I/O cells, as their ways out and in do on a board.

    A chip that is not selected, or whose clock is not enabled, takes no command; one with a mask gives wrong words. Until their
    first clock edges the registers of the I/O cells are 0, which the pins of a command that are active low turn into one: those
    before the first NOP, at power-up, are left out. Before the first command nobody reads the data bus, and the I/O cells may
    drive it.
    """
    members = Pins(timing.part).members
    widths = {"ba": members["bank"].shape, "a": members["address"].shape, "dq": timing.part.bus_bits, "dqm": 2}
    wires = "".join(f"  wire [{widths.get(name, 1) - 1}:0] chip_{name};\n" for name in names)
    levels = {"cs": "chip_cs", "clk_en": "~chip_clk_en"}
    asleep = " | ".join(["~chip_awake", *(level for name, level in levels.items() if name in names)])
    masked = "|chip_dqm" if "dqm" in names else "1'b0"
    bus = f"[{timing.part.bus_bits - 1}:0]"
    late = f"  reg {bus} chip_read = 0;\n  always @(posedge chip_clk) chip_read <= chip_gives;\n" if rate == 2 else (
        f"  wire {bus} chip_read = chip_gives;\n")
    return (f"{wires}  wire {bus} chip_out, chip_drives, chip_gives;\n{late}  reg chip_awake = 0, chip_told = 0;\n"
            f"  wire [2:0] chip_said = ~{{chip_ras, chip_cas, chip_we}}, chip_command = {asleep} ? 3'b0 : chip_said;\n"
            "  always @(posedge chip_clk) begin\n    if (~|chip_said) chip_awake <= 1;\n"
            "    if (|chip_command) chip_told <= 1;\n  end\n"
            f"  assign chip_dq = |chip_drives ? chip_out : {masked} ? ~chip_read : chip_read;\n"
            f"  {CHIP} chip(.clk(chip_clk), .rst(1'b0), .pins__bank(chip_ba), .pins__address(chip_a),\n"
            "    .pins__command(chip_command), .pins__write(chip_out), .pins__drive(chip_told & |chip_drives),\n"
            "    .pins__read(chip_gives));\n")


def _models(timing: Timing) -> str:
    """The Verilog of `SdramModel`, with the module `CHIP` as its top."""
    return re.sub(rf"\b{TOP}\b", CHIP, convert(SdramModel(timing)))
