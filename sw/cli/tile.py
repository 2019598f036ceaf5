"""Commands about the tile and its programs: asm, disasm, bench, verilog."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from ...hdl.spec.config import preset
from ...hdl.spec.errors import MareyError
from ...hdl.verilog import generate as generate_verilog
from ...sim.files import new_content, write_file
from ..program.assembly import assemble
from ..program.program import Program
from ..views.bench import bench
from .base import CONFIG, JSON, main, on_device


@main.command("asm")
@click.argument("file", type=click.File())
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The program to write.")
@CONFIG
def asm_command(file, output, config_name):
    """Assemble FILE (- for standard input) to a program file. It starts at its first instruction."""
    config = preset(config_name)
    try:
        text = file.read()
    except UnicodeDecodeError as error:
        raise MareyError(f"{file.name}: is no text: {error}") from None
    program = Program.from_instructions(config, assemble(config, text))
    with new_content(output) as temporary:
        program.save(temporary)
    click.echo(f"{output}: {program.summary()}")


@main.command("disasm")
@click.argument("file", type=click.Path(path_type=Path))
def disasm_command(file):
    """Print the timetable of a program FILE: each instruction, its cycle, and when its slices are at work."""
    program = Program.load(file)
    for line in program.listing():
        click.echo(line)


@main.command("bench")
@CONFIG
@on_device
@JSON
def bench_command(config_name, backend, connect, as_json):
    """Matrix products on the tile: cycles from go to done, fill and drain included."""
    config = preset(config_name)
    rows = []
    for row in bench(config, lambda: connect(config)):
        if not rows and not as_json:
            click.echo(f"{config.name}: {config.rows} x {config.cols} multiply-accumulates a cycle, backend {backend}")
            click.echo(f"{'product':<20}{'MACs':>10}{'predicted':>12}{'measured':>12}{'utilisation':>13}")
        rows.append(asdict(row))
        if not as_json:
            click.echo(f"{row.name:<20}{row.macs:>10}{row.predicted_cycles:>12}{row.measured_cycles:>12}"
                       f"{row.utilisation:>12.1%} ")
    if as_json:
        click.echo(json.dumps({"config": config.name, "backend": backend, "rows": rows}))


@main.command("verilog")
@CONFIG
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("build/verilog"),
              show_default=True, help="Folder to write to.")
def verilog_command(config_name, output):
    """Write the tile's Verilog, and a JSON file with its configuration, ports, memory map and hash."""
    text, sidecar = generate_verilog(preset(config_name))
    output.mkdir(parents=True, exist_ok=True)
    for suffix, content in ((".v", text), (".json", json.dumps(sidecar, indent=2) + "\n")):
        path = output / f"marey_{config_name}{suffix}"
        write_file(path, content)
        click.echo(path)
