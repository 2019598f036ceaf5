"""From a board's design to its bitstream: synthesis, place and route, packing.

Each step reads files of the board's folder and writes others there; `marey.boards.build.build`
calls them in order.
"""

import hashlib
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from amaranth.lib.wiring import Component

from ..hdl import verilog
from ..sim.files import write_file
from ..sw.program.program import Program
from . import floor_plan
from .board import Board
from .ecp5 import Ecp5Parts
from .families import family, report, resources
from .ice40 import Ice40UpParts
from .memories import Burner, contents, hold_places, rams
from .tools import ToolTimeout, run
from .top import BoardTop

NAME = "marey"
"""Name of the design, and of its files before the suffix."""


PLACER = ("--placer", "static")
"""With nextpnr's other placer, an 85F full of block RAMs is not routed in an hour; with this one it takes minutes. A full UP5K
is placed in a third of the time, and meets a clock that is 5 % faster in the mean."""

SEEDS = 3
"""Number of seeds that are tried: with some, a full device is not routed, or is too slow."""

ROUTE_LIMIT_S = 1800
"""Seconds after which place and route with one seed is stopped.

It takes minutes, or else does not end at all.
"""

_ECP5_PREFIX = {"LFE5U": "", "LFE5UM": "um-", "LFE5UM5G": "um5g-"}
"""How nextpnr's options for the members of the family begin."""

_PLACED = (".json", ".lpf", ".pcf")
"""Suffixes of the files that place and route reads."""

# Assertions and messages are for simulation only.
_REMOVE_CHECKS = "chformal -remove; delete t:$print; "


# Short names for simulation: Verilator repeats them in every line of C++.
_WRITE_NETLIST = (f"write_json {NAME}.json; rename -hide; rename -enumerate -pattern n%; "
                  "write_verilog -noattr netlist.v")


def _synth_ecp5(top, options=""):
    """Yosys commands that synthesise a module for an ECP5. synth_ecp5 would call ABC9, which dies
    on this design."""
    return (f"synth_ecp5 {options}-no-rw-check -top {top} -run begin:map_luts; abc -dff -lut 4; clean; "
            f"synth_ecp5 {options}-top {top} -run map_cells:")


def _synth_ice40(top, flatten, up):
    """Yosys commands that synthesise a module for an iCE40, an UltraPlus if `up`.

    There is no -dsp, with which Yosys would also change the SB_MAC16s that the design contains
    (`Ice40UpParts`). Where components stay apart, the ABC that synth_ice40 would call dies; ABC
    without `-dress` works.
    """
    options = f"-device {'u' if up else 'hx'} -no-rw-check -top {top}"
    if flatten:
        return f"synth_ice40 {options}"
    return (f"synth_ice40 -noflatten {options} -run begin:map_luts; techmap -map +/ice40/latches_map.v; simplemap; abc -lut 4; "
            "ice40_wrapcarry -unwrap; techmap -map +/ice40/ff_map.v; clean; opt_lut -tech ice40; "
            f"synth_ice40 -noflatten {options} -run map_cells:")


def script(board: Board, flatten: bool = True) -> str:
    """Yosys commands that synthesise the design in the working folder.

    Without `flatten`, its components stay apart.
    """
    options = "" if flatten else "-noflatten "
    synth = _synth_ecp5(NAME, options) if board.is_ecp5 else _synth_ice40(NAME, flatten, board.is_ice40up)
    return f"read_rtlil {NAME}.il; read_verilog -sv ram.v; {_REMOVE_CHECKS}{synth}"


def design(board: Board, folder: Path, inside: Component | None = None) -> None:
    """Writes a board's design and its pins to a folder: `marey.il`, `marey.pcf` or `marey.lpf`, and
    `ram.v`.

    `inside` is a component that takes the place of the tile; see `BoardTop`. For an ECP5, a `.hex`
    file for each memory holds the contents that mark its place (`marey.boards.memories`).
    """
    plan = board.with_parts().prepare(BoardTop(board, inside), NAME)
    for suffix in ("il", "pcf", "lpf"):
        if (content := plan.files.get(f"{NAME}.{suffix}")) is not None:
            write_file(Path(folder, f"{NAME}.{suffix}"), content)
    write_file(Path(folder, "ram.v"), verilog.RAM.read_text())
    if board.is_ecp5:
        for name, content in hold_places(Path(folder, f"{NAME}.il").read_text()).items():
            write_file(Path(folder, name or f"{NAME}.il"), content)


def synthesise(board: Board, folder: Path) -> None:
    """Makes `marey.json`, the netlist for place and route, and `netlist.v`, the same for
    simulation, from `marey.il`. If the floor plan suits the board, the former says where cells are.

    This takes minutes, unless the folder has the netlist of the same design already. ToolError if
    Yosys fails; MareyError if the floor plan has too few sites.
    """
    commands = f"{script(board)}; {_WRITE_NETLIST}"
    sources = [commands, *(Path(folder, name).read_text() for name in (f"{NAME}.il", "ram.v"))]
    planned = floor_plan.suits(board.device, board.tile)
    if planned:
        sources.append(str(floor_plan.CENTRES))
    with _unless_made(folder, "netlist.of", sources) as needed:
        if needed:
            run(folder, "yosys", "-q", "-p", commands)
            if planned:
                netlist = Path(folder, f"{NAME}.json")
                write_file(netlist, floor_plan.with_places(netlist.read_text()))


@contextmanager
def _unless_made(folder, name, sources):
    """Tells the `with` block whether a step is needed: whether it was not yet done with these
    source texts.

    The folder's file `name` holds the digest of the sources of the step that was done last; it is
    written when the block ends without an exception.
    """
    digest, record = hashlib.sha256("\0".join(sources).encode()).hexdigest(), Path(folder, name)
    needed = not record.exists() or record.read_text() != digest
    if needed:
        record.unlink(missing_ok=True)
    yield needed
    write_file(record, digest)


ALONE = {"ecp5": (Ecp5Parts, _synth_ecp5(verilog.TOP)),
         "ice40up": (Ice40UpParts, _synth_ice40(verilog.TOP, True, True)),
         "ice40hx": (verilog.Rams, _synth_ice40(verilog.TOP, True, False))}
"""By FPGA: the parts of the tile that its cells replace, and the commands that synthesise a component alone."""


def synthesise_alone(component: Component, folder: Path, fpga: str = "ecp5") -> None:
    """Writes the netlist of a component alone to a folder: `marey.json` and, for simulation, `netlist.v`.

    `fpga`: a key of `ALONE`. This takes a minute for a small tile, unless the folder has the netlist
    of the same design already. ToolError if Yosys fails.
    """
    parts, synth = ALONE[fpga]
    text, commands = verilog.convert(component, parts()), f"read_verilog -sv alone.v; {_REMOVE_CHECKS}{synth}; {_WRITE_NETLIST}"
    with _unless_made(folder, "netlist.of", [text, commands]) as needed:
        if needed:
            write_file(Path(folder, "alone.v"), text)
            run(folder, "yosys", "-q", "-p", commands)


def device_options(board: Board, result: bool = True) -> list[str]:
    """Options of nextpnr that say which device it is, which file has its pins, and, if there is to
    be a `result`, which file gets it."""
    platform = board.platform()
    if board.is_ecp5:
        family_name, size = platform.device.split("-")
        size = _ECP5_PREFIX[family_name] + size.lower().replace("f", "k")
        package = platform.package.replace("BG", "CABGA").replace("MG", "CSFBGA")
        options = [f"--{size}", "--package", package, "--speed", platform.speed, "--lpf", f"{NAME}.lpf", *PLACER]
        return [*options, "--textcfg", f"{NAME}.config"] if result else options
    size, package = platform.device.lower().replace("ice40", ""), platform.package.lower()
    if size == "hx4k":
        # An HX8K of which half is used; the pins of this package differ from an HX8K's.
        size, package = "hx8k", f"{package}:4k"
    placer = PLACER if board.is_ice40up else ()
    options = [f"--{size}", "--package", package, "--pcf", f"{NAME}.pcf", *placer]
    return [*options, "--asc", f"{NAME}.asc"] if result else options


def packed(board: Board, folder: Path) -> dict[str, int]:
    """The cells that `marey.json` takes, by resource: seconds, where `place` takes minutes.

    A design can be packed even if the device has too few cells. ToolError if nextpnr fails.
    """
    kind = family(board)
    run(folder, kind.nextpnr, *device_options(board, result=False), "--json", f"{NAME}.json", "--report", "report.json",
        "--pack-only")
    return resources(kind, folder)


def place(board: Board, folder: Path, seed: int = 1, say: Callable[[str], None] = lambda line: None) -> dict:
    """Places and routes `marey.json`, and returns the results (`marey.boards.families.report`).

    Seeds are tried from `seed` on, until one meets the board's clock, or `SEEDS` were tried, of
    which the best is kept; `say` gets a line about each that fails. This takes minutes, unless the
    folder has the result already. ToolTimeout if no seed is routed in time; ToolError if nextpnr
    fails.
    """
    kind = family(board)
    options = [*device_options(board), "--json", f"{NAME}.json", "--report", "report.json", "--timing-allow-fail", "--freq",
               f"{board.clock_hz / 1e6:g}"]
    placed = [path for path in sorted(Path(folder).glob(f"{NAME}.*")) if path.suffix in _PLACED]
    sources = [*options, str(seed), *(path.read_text() for path in placed)]
    with _unless_made(folder, "placed.of", sources) as needed:
        if needed:
            _place_until_met(kind, folder, options, board.clock_hz / 1e6, range(seed, seed + SEEDS), say)
    return report(kind, folder)


def _place_until_met(kind, folder, options, wanted_mhz, seeds, say):
    """Leaves the result of the first seed that meets the clock in the folder, or else that of the
    best, which is run again."""
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
    """Packs the bitstream of what was placed, in seconds, and returns its file. An ECP5's contains
    the program.

    MareyError if the design has no place for a part of the program; ToolError if the packer fails.
    """
    file = bitstream(board, folder)
    if board.is_ecp5:
        burner = Burner(rams(Path(folder, f"{NAME}.il").read_text()), contents(board.tile, program))
        write_file(Path(folder, "burned.config"), burner.config(Path(folder, f"{NAME}.config").read_text()))
        run(folder, "ecppack", "--compress", "burned.config", file.name)
    else:
        run(folder, "icepack", f"{NAME}.asc", file.name)
    return file


def bitstream(board: Board, folder: Path) -> Path:
    """The bitstream's file in a board's folder, which `pack` writes."""
    return Path(folder, f"{NAME}.bit" if board.is_ecp5 else f"{NAME}.bin")


def image(folder: Path) -> Path:
    """The file of the program that goes into the board's flash, behind the bitstream."""
    return Path(folder, f"{NAME}.flash")
