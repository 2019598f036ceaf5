"""Commands about the timetable: report, timetable."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import click

from ...boards.records import costs
from ...hdl.spec.errors import MareyError
from ...hdl.timing import PROBED
from ...sim.files import new_content, write_file
from ..program.program import Program
from ..views.measure import Measurement, NotAsPlanned, measure
from ..views.page import page
from ..views.perfetto import trace_events
from ..views.report import report
from ..views.speed import link_assumption
from ..views.timetable import text
from .base import JSON, MODEL_FILE, TOKENIZER, check_output, main
from .compiling import load_or_compile
from .configs import CONFIG

POSITION = click.option("--position", type=click.IntRange(min=0), default=127, show_default=True,
                        help="Position of the token in the text, from 0 on.")


@main.command("report")
@MODEL_FILE
@POSITION
@TOKENIZER
@CONFIG
@JSON
def report_command(model, position, tokenizer, config, as_json):
    """Print the memory that MODEL, a model or program file, takes on the tile, and the cycles of a token, product by
    product."""
    def check(program):
        if program.model is None:
            raise MareyError(f"{model}: has no tokens to report on")
        _check_positions(program, model, position, 1)

    program = load_or_compile(model, tokenizer, config, check)
    result = report(program, position, costs().values())
    if as_json:
        click.echo(json.dumps(result))
        return
    click.echo(program.summary())
    for name, value in result["summary"].items():
        click.echo(f"{name:<36}{value}")
    if assumed := link_assumption(program, None):
        click.echo(f"{'tokens a second assume':<36}{assumed}")
    click.echo(f"\n{'product':<24}{'cycles':>8}{'MAC floor':>11}{'idle before':>13}")
    for row in result["phases"]:
        click.echo("{name:<24}{cycles:>8}{mac_floor_cycles:>11.1f}{idle_before:>13}".format(**row))
    click.echo(f"{'all':<24}{result['cycles']:>8}{result['mac_floor_cycles']:>11.1f}"
               f"{sum(row['idle_before'] for row in result['phases']):>13}  {result['utilisation']:.1%}")


@main.command("timetable")
@MODEL_FILE
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="HTML page to write.")
@POSITION
@click.option("--tokens", type=click.IntRange(1, 256), default=1, show_default=True,
              help="Number of tokens to draw, one after another.")
@click.option("--text", "as_text", is_flag=True,
              help="Print the timetable as text, one operation on each line.")
@click.option("--perfetto", type=click.Path(path_type=Path, dir_okay=False),
              help="Chrome trace to write, for ui.perfetto.dev.")
@click.option("--measure", "measured", is_flag=True,
              help="Run it in Verilator, and compare each unit's busy cycles with the plan.")
@click.option("--image", type=click.Path(path_type=Path, dir_okay=False),
              help="Program file to run instead of MODEL's own program; it is not checked against the rules.")
@click.option("--vcd", type=click.Path(path_type=Path, dir_okay=False),
              help="Waveform (VCD) of the measured run to write, with the names of operations.")
@click.option("--fst", type=click.Path(path_type=Path, dir_okay=False),
              help="The same in FST, by GTKWave's vcd2fst.")
@click.option("--signals", default=",".join(PROBED), show_default=True, help="Units in the waveform.")
@TOKENIZER
@CONFIG
def timetable_command(model, output, position, tokens, as_text, perfetto, measured, image, vcd, fst, signals, tokenizer,
                      config):
    """Draw the timetable of MODEL, a model or program file: every operation of a token, in every cycle."""
    if not (output or as_text or perfetto or measured or vcd or fst):
        raise MareyError("name what to make: -o PAGE.html, --text, --perfetto FILE, --vcd FILE, --fst FILE or --measure")
    units = signals.split(",")
    if unknown := set(units) - set(PROBED):
        raise MareyError(f"--signals: no unit {', '.join(sorted(unknown))}: there are {', '.join(PROBED)}")
    if fst and shutil.which("vcd2fst") is None:
        raise MareyError("--fst: vcd2fst is not on PATH: install GTKWave, or write a --vcd")
    if image and not (measured or vcd or fst):
        raise MareyError("--image is what --measure runs: give both")
    made = [path for path in (output, perfetto, vcd, fst) if path]
    for index, path in enumerate(made):
        check_output(path, model, image, tokenizer, *made[:index])
    def check(program):
        _check_positions(program, model, position, tokens)
        if not program.one_run and (measured or vcd or fst):
            raise MareyError(f"{model}: is streamed through {program.config.name} in many runs, and one run is measured: leave "
                             "out --measure, --vcd and --fst, or choose a larger --config")

    program = load_or_compile(model, tokenizer, config, check)
    measurement = None
    if measured or vcd or fst:
        loaded = Program.load(image, checked=False) if image else None
        measurement = measure(program, position, tokens, loaded)
    if output:
        write_file(output, page(program, position, tokens, measurement, costs().values()))
        click.echo(f"{output}: {output.stat().st_size:,} bytes", err=True)
    if perfetto:
        write_file(perfetto, json.dumps(trace_events(program, position, tokens)))
        click.echo(f"{perfetto}: one microsecond is one clock cycle", err=True)
    if as_text:
        for line in text(program, position, tokens):
            click.echo(line)
    for path, write in ((vcd, Measurement.write_vcd), (fst, _write_fst)):
        if path:
            with new_content(path) as temporary:
                write(measurement, temporary, units)
            click.echo(f"{path}: one nanosecond is one clock cycle", err=True)
    if measured:
        _verdict(measurement)


def _write_fst(measurement: Measurement, path: Path, units: list[str]) -> None:
    """Writes the waveform in FST, by the program vcd2fst. MareyError if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        vcd = Path(folder, "run.vcd")
        measurement.write_vcd(vcd, units)
        done = subprocess.run(["vcd2fst", vcd, path], capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode:
        why = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise MareyError(f"vcd2fst cannot convert the waveform: {why}: write a --vcd")


def _check_positions(program: Program, model: Path, position: int, tokens: int) -> None:
    """MareyError for positions that the program does not have."""
    if program.model is None and tokens > 1:
        raise MareyError(f"{model}: is no model's program, and makes no tokens")
    if program.model and position + tokens > program.model.context:
        raise MareyError(f"{model}: has positions 0 to {program.model.context - 1} on {program.config.name}, and no "
                         f"{'token' if tokens == 1 else f'{tokens} tokens'} from position {position} on: choose another "
                         "with --position")


def _verdict(measurement):
    differences = measurement.differences()
    if differences:
        raise NotAsPlanned(f"not as planned from {differences[0]}, {len(differences)} differences in all: is the image the one "
                           "that was compiled?")
    counted = sum(map(len, measurement.units.values()))
    click.echo(f"{measurement.cycles:,} cycles, in which {len(measurement.units)} units were at work {counted:,} times: "
               "each in the cycle in which it was planned", err=True)
