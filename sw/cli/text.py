"""Commands that make text: generate, compile, run."""

import json
import time
from pathlib import Path

import click

from ...hdl.spec.config import preset
from ...hdl.spec.errors import MareyError
from ..formats import DEFAULT_MODEL
from ..program.program import Program
from ..runtime.generate import generate
from ..text.sampling import Sampler
from .base import CONFIG, MODEL, MODEL_FILE, TOKENIZER, apart, compile_file, generation, main


@main.command("generate")
@click.argument("prompt", default="")
@MODEL
@TOKENIZER
@CONFIG
@generation
def generate_command(prompt, model, tokenizer, config_name, backend, connect, steps, temperature, top_p, seed, burned, as_json):
    """Generate text from PROMPT on the tile, and say what it took, predicted and measured."""
    program = compile_file(model or DEFAULT_MODEL, tokenizer, preset(config_name))
    _generate(program, backend, connect, prompt, steps, Sampler(temperature, top_p, seed), burned, as_json)


@main.command("compile")
@MODEL_FILE
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The program to write.")
@TOKENIZER
@CONFIG
def compile_command(model, output, tokenizer, config_name):
    """Compile MODEL to a program file for a configuration."""
    apart(output, model, tokenizer)
    program = compile_file(model, tokenizer, preset(config_name))
    program.save(output)
    click.echo(f"{output}: {program.summary()}")


@main.command("run")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--prompt", default="", help="Text to begin with.")
@generation
def run_command(file, prompt, backend, connect, steps, temperature, top_p, seed, burned, as_json):
    """Run a program FILE: generate text, or, if it was assembled by hand, run it once, for one token, and count its cycles."""
    program = Program.load(file)
    if program.model is not None:
        _generate(program, backend, connect, prompt, steps, Sampler(temperature, top_p, seed), burned, as_json)
        return
    if prompt:
        raise MareyError(f"{file}: was assembled by hand, has no model in it, and takes no prompt")
    with connect(program.config) as device:
        (device.adopt if burned else device.load)(program)
        device.run()
        runs = [{"entry": 0, "predicted_cycles": device.tally.predicted, "measured_cycles": device.tally.measured}]
    if as_json:
        click.echo(json.dumps({"config": program.config.name, "runs": runs}))
    else:
        for run in runs:
            click.echo("entry {entry}: {predicted_cycles} cycles predicted, {measured_cycles} measured".format(**run))


def _generate(program, backend, connect, prompt, steps, sampler, burned, as_json):
    """Generates, streaming text to stdout, and prints the table or the JSON object."""
    begun = time.monotonic()
    with connect(program.config) as device:
        (device.adopt if burned else device.load)(program)
        result = generate(device, program, prompt, steps, sampler,
                          show=(lambda text: None) if as_json else lambda text: click.echo(text, nl=False))
        simulated = device.transport.simulated_hz
    wall = time.monotonic() - begun
    if as_json:
        click.echo(json.dumps({"config": program.config.name, "backend": backend, **result.as_json(),
                               "wall_seconds": wall, "simulated_hz": simulated}))
        return
    click.echo("\n")
    for label, value in result.table(simulated):
        click.echo(f"{label:<28}{value}")
