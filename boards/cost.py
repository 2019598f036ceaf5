"""What the tile costs on an ECP5, and the clock it meets: Yosys and nextpnr, no board needed.

    python -m marey.boards.cost [CONFIG] [-o costs.json]

With -o, the result takes its place among others in a JSON file, by configuration, where `marey report` finds it. The
tile stands alone, its link at the pins of the largest package, so the figures are the tile's and nothing else's. Tools
come from PATH, or else from their YoWASP wheels (`pip install marey[boards]`).
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from ..hdl.config import PRESETS, Config, preset
from ..hdl.errors import MareyError
from ..hdl.verilog import TOP, generate

CELLS = {"lut": "TRELLIS_COMB", "ff": "TRELLIS_FF", "bram": "DP16KD", "dsp": "MULT18X18D"}
"""Resources, and what nextpnr calls them."""


class ToolError(MareyError):
    """A tool is missing, or failed."""

    exit_code = 1


def cost(config: Config, target_mhz: float = 100.0) -> dict:
    """Synthesises, places and routes the tile for an ECP5-85F, speed grade 6.

    Returns {"config", "device", "clock_mhz_target", "clock_mhz_met", "resources": {"lut", "ff", "bram", "dsp"}}, after
    minutes of work. ToolError if a tool is missing or fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        text, _ = generate(config)
        Path(folder, "tile.v").write_text(text)
        _run(folder, "yosys", "-q", "-p",
             # ABC9, which synth_ecp5 would choose, ends without a word on this design; plain ABC maps it.
             "read_verilog -sv tile.v; chformal -remove; delete t:$print; "
             f"synth_ecp5 -no-rw-check -top {TOP} -run begin:map_luts; abc -dff -lut 4:7; clean; "
             f"synth_ecp5 -top {TOP} -run map_cells: -json tile.json")
        _run(folder, "nextpnr-ecp5", "--85k", "--package", "CABGA756", "--json", "tile.json", "--freq", str(target_mhz),
             "--lpf-allow-unconstrained", "--timing-allow-fail", "--report", "report.json", "-q")
        report = json.loads(Path(folder, "report.json").read_text())
    (clock,) = (entry["achieved"] for name, entry in report["fmax"].items() if re.search(r"\bclk|\$clk", name))
    used = {name: report["utilization"][cell]["used"] for name, cell in CELLS.items()}
    return {"config": config.name, "device": "LFE5U-85F-6", "clock_mhz_target": target_mhz,
            "clock_mhz_met": round(clock, 1), "resources": used}


def _run(folder, tool, *arguments):
    program = shutil.which(tool) or shutil.which(f"yowasp-{tool}") or shutil.which(
        str(Path(sys.executable).with_name(f"yowasp-{tool}")))
    if program is None:
        raise ToolError(f"{tool} is not on PATH: install it, or its wheel with: pip install 'marey[boards]'")
    done = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise ToolError(f"{tool} failed: {last}")


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
