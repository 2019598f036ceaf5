"""What the tile costs on an ECP5, and the clock it meets: Yosys and nextpnr, no board needed.

    python -m marey.boards.cost [CONFIG] [-o costs.json]

With -o, the result takes its place among others in a JSON file, by configuration, where `marey report` finds it. The
tile stands alone, its link at the pins of the largest package, so the figures are the tile's and nothing else's. Tools
come from PATH, or else from their YoWASP wheels (`pip install marey[boards]`).
"""

import json
import tempfile
from pathlib import Path

import click

from ..hdl.spec.config import PRESETS, Config, preset
from ..hdl.spec.errors import MareyError
from .flow import ECP5, ECP5_PLACER, NAME, report, synthesise_tile
from .tools import run


def cost(config: Config, target_mhz: float = 100.0) -> dict:
    """Synthesises, places and routes the tile for an ECP5-85F, speed grade 6.

    Returns {"config", "device", "clock_mhz_target", "clock_mhz_met", "resources": {"lut", "ff", "bram", "dsp"},
    "critical_path"}, after minutes of work. ToolError if a tool is missing or fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        synthesise_tile(config, folder)
        run(folder, ECP5.nextpnr, "--85k", "--package", "CABGA756", *ECP5_PLACER, "--json", f"{NAME}.json", "--freq",
            str(target_mhz), "--lpf-allow-unconstrained", "--timing-allow-fail", "--report", "report.json", "-q")
        return {"config": config.name, "device": "LFE5U-85F-6", "clock_mhz_target": target_mhz, **report(ECP5, folder)}


@click.command()
@click.argument("config", type=click.Choice(list(PRESETS)), default="ecp5_8x8")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="JSON file to keep the result in.")
def main(config, output):
    """What a tile costs on an ECP5-85F, and the clock it meets."""
    try:
        result = cost(preset(config))
    except MareyError as error:
        raise click.ClickException(str(error)) from None
    if output:
        known = json.loads(output.read_text()) if output.exists() else {}
        output.write_text(json.dumps(known | {config: result}, indent=1) + "\n")
    click.echo(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
