"""Commands about the tile and its programs: asm, disasm, bench, verilog, configs."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import click

from ...hdl.spec.errors import MareyError
from ...hdl.verilog import generate as generate_verilog
from ...sim.files import write_file
from ..program.assembly import assemble
from ..program.program import Program
from ..views.bench import bench
from . import configs
from .base import JSON, check_output, main, on_device, standard_input
from .compiling import load_or_compile
from .configs import CONFIG
from .edited import with_instructions


@main.command("asm")
@click.argument("file", type=click.Path(allow_dash=True, path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Program file to write.")
@click.option("--with", "original", type=click.Path(path_type=Path),
              help="Program file whose weights, constants, model and configuration the new program keeps, such as the one "
                   "whose listing FILE is.")
@CONFIG
def asm_command(file, output, original, config):
    """Assemble FILE (- reads standard input) to a program file, which starts at its first instruction."""
    check_output(output, file)
    if original:
        kept = load_or_compile(original, None, config)
        program = with_instructions(kept, assemble(kept.config, _text(file)))
    else:
        program = Program.from_instructions(config, assemble(config, _text(file)))
    program.save(output)
    click.echo(f"{output}: {program.summary()}")


def _text(file):
    """The content of a text file, or of standard input if it is "-". MareyError if it is not text."""
    content = standard_input("the program") if str(file) == "-" else file.read_bytes()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MareyError(f"{file}: is not UTF-8 text: {error}") from None


@main.command("disasm")
@click.argument("file", type=click.Path(path_type=Path))
def disasm_command(file):
    """Print a program FILE as text: each instruction, the cycle in which it issues, and the cycles in which its slices work.
    `marey asm --with FILE` reads the text back, edited or not."""
    program = Program.load(file)
    for line in program.listing():
        click.echo(line)


@main.command("bench")
@CONFIG
@on_device
@JSON
def bench_command(config, connect, as_json):
    """Run matrix products on the tile, compare their values with the golden model's, and print their cycles from go to done,
    filling and draining the pipeline included."""
    rows = []
    for row in bench(config, lambda: connect(config)):
        if not rows and not as_json:
            click.echo(f"{config.name}: {config.rows} x {config.cols} multiply-accumulates a cycle, backend {connect.backend}")
            click.echo(f"{'product':<20}{'MACs':>10}{'predicted':>12}{'measured':>12}{'utilisation':>13}")
        rows.append(asdict(row))
        if not as_json:
            click.echo(f"{row.name:<20}{row.macs:>10}{row.predicted_cycles:>12}{row.measured_cycles:>12}"
                       f"{row.utilisation:>12.1%} ")
    if as_json:
        click.echo(json.dumps({"config": config.name, "backend": connect.backend, "rows": rows}))


@main.command("verilog")
@CONFIG
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("build/verilog"),
              show_default=True, help="Folder to write to.")
def verilog_command(config, output):
    """Write the tile's Verilog, and beside it a JSON file with the configuration, its hash, the ports and the memory map."""
    check_output(output, folder=True)
    text, sidecar = generate_verilog(config)
    output.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w.-]+", "_", config.name)
    for suffix, content in ((".v", text), (".json", json.dumps(sidecar, indent=2) + "\n")):
        path = output / f"marey_{name}{suffix}"
        write_file(path, content)
        click.echo(path)


@main.command("configs")
@JSON
def configs_command(as_json):
    """List the presets that --config takes, and the fields of a configuration with their legal values and meaning."""
    click.echo(json.dumps(configs.as_json()) if as_json else "\n".join(configs.lines()))
