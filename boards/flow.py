"""Synthesis, place and route, packing: from Verilog or a board's design to a bitstream and its report."""

import hashlib
import json
import math
import re
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from amaranth.lib.wiring import Component

from ..hdl import verilog
from ..hdl.tile import Tile
from ..sw.program.program import Program
from .board import Board
from .ecp5 import Ecp5Parts
from .memories import Burner, contents, hold_places, rams
from .tools import ToolTimeout, run
from .top import BoardTop

NAME = "marey"
"""Of the design, and of its files."""


@dataclass(frozen=True)
class Family:
    """How a family's tools are called: `cells`, resources and what nextpnr calls them."""

    nextpnr: str
    cells: dict[str, str]


ICE40 = Family("nextpnr-ice40", {"lc": "ICESTORM_LC", "bram": "ICESTORM_RAM", "dsp": "ICESTORM_DSP", "spram": "ICESTORM_SPRAM"})
ECP5 = Family("nextpnr-ecp5", {"lut": "TRELLIS_COMB", "ff": "TRELLIS_FF", "bram": "DP16KD", "dsp": "MULT18X18D"})

ECP5_PLACER = ("--placer", "static")
"""nextpnr's other one scatters block RAMs so that an 85F full of them is not routed in an hour; this one takes minutes."""

SEEDS = 3
"""So many are tried: of a full device some are not routed, or are late."""

ROUTE_LIMIT_S = 1800
"""Of place and route with one seed, which takes minutes: a router that does not find the last nets goes on for ever."""

_PLACED = (".json", ".lpf", ".pcf")
"""Suffixes of what place and route starts from."""

# Assertions cost nothing on a chip; what is printed neither.
_READ = "chformal -remove; delete t:$print; "


def _synth_ecp5(top, options=""):
    """ABC9, which synth_ecp5 would choose, ends without a word on this design; plain ABC maps it."""
    return (f"synth_ecp5 {options}-no-rw-check -top {top} -run begin:map_luts; abc -dff -lut 4; clean; "
            f"synth_ecp5 {options}-top {top} -run map_cells:")


def _synth_ice40(top, flatten, up):
    """Multipliers are the design's own SB_MAC16s (`Ice40UpParts`): with -dsp Yosys would change those as well. Where components
    stay apart the ABC that synth_ice40 would call ends without a word, and the same without `-dress` does not."""
    options = f"-device {'u' if up else 'hx'} -no-rw-check -top {top}"
    if flatten:
        return f"synth_ice40 {options}"
    return (f"synth_ice40 -noflatten {options} -run begin:map_luts; techmap -map +/ice40/latches_map.v; simplemap; abc -lut 4; "
            "ice40_wrapcarry -unwrap; techmap -map +/ice40/ff_map.v; clean; opt_lut -tech ice40; "
            f"synth_ice40 -noflatten {options} -run map_cells:")


def script(board: Board, flatten: bool = True) -> str:
    """Yosys commands that synthesise the design in a folder; without `flatten`, its components stay apart."""
    options = "" if flatten else "-noflatten "
    synth = _synth_ecp5(NAME, options) if board.is_ecp5 else _synth_ice40(NAME, flatten, board.is_ice40up)
    return f"read_rtlil {NAME}.il; read_verilog -sv ram.v; {_READ}{synth}"


def family(board: Board) -> Family:
    """Of the board's FPGA."""
    return ECP5 if board.is_ecp5 else ICE40


def design(board: Board, folder: Path, inside: Component | None = None) -> None:
    """Writes the board's design (see `BoardTop`) and its pins to a folder: `marey.il`, `marey.pcf` or `marey.lpf`, `ram.v`."""
    plan = board.with_parts().prepare(BoardTop(board, inside), NAME)
    for suffix in ("il", "pcf", "lpf"):
        if (content := plan.files.get(f"{NAME}.{suffix}")) is not None:
            Path(folder, f"{NAME}.{suffix}").write_bytes(content.encode() if isinstance(content, str) else content)
    Path(folder, "ram.v").write_text(verilog.RAM.read_text())
    if board.is_ecp5:
        for name, content in hold_places(Path(folder, f"{NAME}.il").read_text()).items():
            Path(folder, name or f"{NAME}.il").write_text(content)


def synthesise(board: Board, folder: Path) -> None:
    """`marey.il` becomes `marey.json`, for place and route, and `netlist.v`, the same netlist, for simulation.

    Minutes, but for a design whose netlist the folder has already.
    """
    commands = (f"{script(board)}; write_json {NAME}.json; "
                # Short names: Verilator repeats them in every line of C++.
                "rename -hide; rename -enumerate -pattern n%; write_verilog -noattr netlist.v")
    sources = [commands, *(Path(folder, name).read_text() for name in (f"{NAME}.il", "ram.v"))]
    with _unless_made(folder, "netlist.of", sources) as needed:
        if needed:
            run(folder, "yosys", "-q", "-p", commands)


@contextmanager
def _unless_made(folder, name, sources):
    """Whether what is made of these sources is still to be made: the folder's file `name` says of which it was, when it was."""
    digest, made = hashlib.sha256("\0".join(sources).encode()).hexdigest(), Path(folder, name)
    needed = not made.exists() or made.read_text() != digest
    if needed:
        made.unlink(missing_ok=True)
    yield needed
    made.write_text(digest)


def synthesise_tile(config, folder: Path) -> None:
    """The tile alone, for an ECP5: `marey.json`."""
    Path(folder, "tile.v").write_text(verilog.convert(Tile(config), Ecp5Parts()))
    run(folder, "yosys", "-q", "-p", f"read_verilog -sv tile.v; {_READ}{_synth_ecp5(verilog.TOP)} -json {NAME}.json")


def place(board: Board, folder: Path, seed: int = 1, say: Callable[[str], None] = lambda line: None) -> dict:
    """Places and routes `marey.json`, and returns what `report` says. Minutes, but for what the folder has already.

    The first of `SEEDS` seeds that meets the board's clock, else the best of them; ToolTimeout if none is routed in time.
    """
    platform = board.platform()
    kind = family(board)
    if board.is_ecp5:
        size = platform.device.split("-")[1].lower().replace("f", "k")
        package = platform.package.replace("BG", "CABGA").replace("MG", "CSFBGA")
        options = [f"--{size}", "--package", package, "--speed", platform.speed, "--lpf", f"{NAME}.lpf", "--textcfg",
                   f"{NAME}.config", *ECP5_PLACER]
    else:
        size = re.sub("ice40", "", platform.device.lower())
        options = [f"--{size}", "--package", platform.package.lower(), "--pcf", f"{NAME}.pcf", "--asc", f"{NAME}.asc"]
    options += ["--json", f"{NAME}.json", "--report", "report.json", "--timing-allow-fail", "--freq",
                f"{board.clock_hz / 1e6:g}"]
    placed = [path for path in sorted(Path(folder).glob(f"{NAME}.*")) if path.suffix in _PLACED]
    sources = [*options, str(seed), *(path.read_text() for path in placed)]
    with _unless_made(folder, "placed.of", sources) as needed:
        if needed:
            _place_until_met(kind, folder, options, board.clock_hz / 1e6, range(seed, seed + SEEDS), say)
    return report(kind, folder)


def _place_until_met(kind, folder, options, wanted_mhz, seeds, say):
    """The folder has, afterwards, what the first seed that meets the clock gave, or the best, which is made once more."""
    met = {}
    for seed in seeds:
        try:
            run(folder, kind.nextpnr, *options, "--seed", str(seed), limit_s=ROUTE_LIMIT_S)
        except ToolTimeout as late:
            say(f"seed {seed}: {late}")
            continue
        met[seed] = report(kind, folder)["clock_mhz_met"]
        if met[seed] >= wanted_mhz:
            return
        say(f"seed {seed}: {met[seed]} MHz, not {wanted_mhz:g}")
    if not met:
        raise ToolTimeout(f"{kind.nextpnr} routed none of {len(seeds)} seeds within {ROUTE_LIMIT_S:g} seconds each: try "
                          "another --seed")
    best = max(met, key=met.get)
    if best != seed:
        run(folder, kind.nextpnr, *options, "--seed", str(best))


def pack(board: Board, folder: Path, program: Program | None = None) -> Path:
    """Packs the bitstream of what was placed, an ECP5's with a program burned in, in seconds; returns its file."""
    file = bitstream(board, folder)
    if board.is_ecp5:
        burner = Burner(rams(Path(folder, f"{NAME}.il").read_text()), contents(board.tile, program))
        Path(folder, "burned.config").write_text(burner.config(Path(folder, f"{NAME}.config").read_text()))
        run(folder, "ecppack", "--compress", "burned.config", file.name)
    else:
        run(folder, "icepack", f"{NAME}.asc", file.name)
    return file


def bitstream(board: Board, folder: Path) -> Path:
    """The file that `pack` makes."""
    return Path(folder, f"{NAME}.bit" if board.is_ecp5 else f"{NAME}.bin")


def image(folder: Path) -> Path:
    """The file of what the board's flash holds behind the bitstream."""
    return Path(folder, f"{NAME}.flash")


def report(kind: Family, folder: Path) -> dict:
    """What nextpnr's report says, the clock rounded down: {"clock_mhz_met", "resources": {..}, "critical_path": [..]}.

    The critical path is its cells' and nets' places in the hierarchy of components, from register to register.
    """
    found = json.loads(Path(folder, "report.json").read_text())
    clocks = [entry["achieved"] for entry in found["fmax"].values()]
    used = {name: found["utilization"].get(cell, {"used": 0})["used"] for name, cell in kind.cells.items()}
    return {"clock_mhz_met": math.floor(10 * min(clocks)) / 10, "resources": used, "critical_path": _critical_path(found)}


_MADE_UP = re.compile(r"\[\d+\]|_(LUT4|SB_LUT4|CCU2C|SB_CARRY|TRELLIS_FF|SB_DFF\w*|PFUMX|L6MUX21)_.*|\$.*")
"""What synthesis adds to the name of a signal."""


def _critical_path(found):
    """Names of the nets of the slowest path within a clock, in order, without those that synthesis made up."""
    inside = [path for path in found["critical_paths"] if path["from"] == path["to"]]
    if not inside:
        return []
    slowest = max(inside, key=lambda path: sum(step["delay"] for step in path["path"]))
    names = []
    for step in slowest["path"]:
        name = _MADE_UP.sub("", step.get("net") or "")
        if name and (not names or names[-1] != name):
            names.append(name)
    return names
