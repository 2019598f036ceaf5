"""Measures what a bare tile costs on an ECP5, and the clock that it meets, by Yosys and nextpnr.

    python -m marey.boards.cost [CONFIG] [-o costs.json]
    python -m marey.boards.cost PART

No board is needed. The tile's link is connected to the pins of the largest package, and there is
nothing else on the device, so the figures are those of the tile. PART is an external memory chip:
then they are those of the slice that serves it on the tile ecp5_8x8, as if its ports were pins. With
-o the result is added to a JSON file, by configuration; that of `boards/costs.json` gives `marey
report` and `marey fit` their clocks.
"""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import click
from amaranth.lib.wiring import Component

from ..hdl.dram import Dram
from ..hdl.spec.config import preset
from ..hdl.spec.dram_parts import PARTS
from ..hdl.spec.errors import MareyError
from ..hdl.spec.named import configuration
from ..hdl.tile import Tile
from ..sim.files import write_file
from .families import ECP5, report
from .flow import NAME, PLACER, synthesise_alone
from .tools import run


def component(name: str, target_mhz: float) -> Component:
    """The tile of a configuration; or the slice that serves an external memory chip, on the tile ecp5_8x8."""
    if name not in PARTS:
        return Tile(configuration(name))
    return Dram(replace(preset("ecp5_8x8"), sdram=[*PARTS].index(name) + 1, sdram_mhz=round(target_mhz)))


def cost(name: str, target_mhz: float = 100.0) -> dict:
    """Synthesises, places and routes a component for an ECP5-85F of speed grade 6, which takes minutes.

    `name`: see `component`. Returns {"config", "device", "clock_mhz_target", "clock_mhz_met", "resources": {"lut", "ff",
    "bram", "dsp"}, "critical_path"}. ToolError if a tool is missing or fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        synthesise_alone(component(name, target_mhz), folder)
        run(folder, ECP5.nextpnr, "--85k", "--package", "CABGA756", *PLACER, "--json", f"{NAME}.json", "--freq",
            str(target_mhz), "--lpf-allow-unconstrained", "--timing-allow-fail", "--report", "report.json", "-q")
        return {"config": name, "device": "LFE5U-85F-6", "clock_mhz_target": target_mhz, **report(ECP5, folder)}


@click.command()
@click.argument("config", default="ecp5_8x8")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="JSON file to add the result to.")
def main(config, output):
    """Measure what a tile, or a slice of external memory, costs on an ECP5-85F, and the clock that it meets."""
    try:
        result = cost(config)
    except MareyError as error:
        raise click.ClickException(str(error)) from None
    if output:
        known = json.loads(output.read_text()) if output.exists() else {}
        write_file(output, json.dumps(known | {config: result}, indent=1) + "\n")
    click.echo(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
