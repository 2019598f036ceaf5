"""The command line: `marey VERB`. Errors are one line on stderr; status 2 for bad input, 1 for a failed run."""

import json
import sys
import time
from dataclasses import asdict
from functools import reduce
from pathlib import Path

import click

from ..hdl.config import PRESETS, preset
from ..hdl.errors import MareyError
from ..hdl.verilog import generate as generate_verilog
from ..sim.backends import BACKENDS, default_backend, open_transport
from . import evaluate as evaluation
from .assembly import assemble
from .bench import bench
from .driver import Device
from .formats import gguf, llama2c, load_model, load_tokenizer
from .generate import generate
from .program import Program, compile_model
from .report import phases
from .sampling import Sampler
from .tiny import default_model


class Cli(click.Group):
    """Prints help when called bare, and a MareyError as one line."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except MareyError as error:
            click.echo(f"marey: {error}", err=True)
            ctx.exit(error.exit_code)
        except (BrokenPipeError, KeyboardInterrupt):
            click.echo("marey: interrupted", err=True)
            ctx.exit(1)
        except (OSError, UnicodeDecodeError) as error:
            where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
            click.echo(f"marey: {where}{getattr(error, 'strerror', None) or error}", err=True)
            ctx.exit(2)


MODEL = click.option("--model", type=click.Path(path_type=Path),
                     help="llama2.c or GGUF file, or Hugging Face folder. Default: a tiny random model.")
TOKENIZER = click.option("--tokenizer", type=click.Path(path_type=Path),
                         help="Tokenizer file. Default: the model's own, or tok<vocabulary>.bin or tokenizer.bin next to it.")
CONFIG = click.option("--config", "config_name", type=click.Choice(list(PRESETS)), default="sim8x8", show_default=True,
                      help="Configuration of the tile.")
BACKEND = click.option("--backend", type=click.Choice(BACKENDS),
                       help="What runs the program. Default: verilator where a C++ compiler is found, else emulator.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, and nothing else.")
GENERATION = (
    click.option("--steps", type=click.IntRange(min=1), default=64, show_default=True, help="Tokens to generate."),
    click.option("--temperature", type=click.FloatRange(min=0), default=0.0, show_default=True,
                 help="0 takes the likeliest token; higher is more random."),
    click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True,
                 help="Draw from the likeliest tokens that together have this probability."),
    click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random draws."),
)


def generation(command):
    """The options of a command that generates text."""
    return reduce(lambda command, option: option(command), reversed((BACKEND, *GENERATION, JSON)), command)


@click.group(cls=Cli, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="marey")
def main():
    """Marey: an open LPU. A model file in, a timetable out, text from a chip whose every cycle was known before."""


@main.command("generate")
@click.argument("prompt", default="")
@MODEL
@TOKENIZER
@CONFIG
@generation
def generate_command(prompt, model, tokenizer, config_name, backend, steps, temperature, top_p, seed, as_json):
    """Generate text from PROMPT on the tile, and say what it took, predicted and measured."""
    if model is None:
        model = default_model()
        click.echo("no --model given: a tiny random checkpoint, made here, speaks gibberish on the real tile", err=True)
    program = _compile(model, tokenizer, preset(config_name))
    _generate(program, backend, prompt, steps, Sampler(temperature, top_p, seed), as_json)


@main.command("compile")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The program to write.")
@TOKENIZER
@CONFIG
def compile_command(model, output, tokenizer, config_name):
    """Compile MODEL to a program file for a configuration."""
    program = _compile(model, tokenizer, preset(config_name))
    program.save(output)
    click.echo(f"{output}: {program.summary()}")


@main.command("run")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--prompt", default="", help="Text to begin with.")
@generation
def run_command(file, prompt, backend, steps, temperature, top_p, seed, as_json):
    """Run a program FILE: generate text, or, if it was assembled by hand, run it once and count its cycles."""
    program = Program.load(file)
    if program.model is not None:
        _generate(program, backend, prompt, steps, Sampler(temperature, top_p, seed), as_json)
        return
    with _open(program.config, backend) as device:
        device.load(program)
        device.run(count=0)
        runs = [{"entry": 0, "predicted_cycles": device.tally.predicted, "measured_cycles": device.tally.measured}]
    if as_json:
        click.echo(json.dumps({"config": program.config.name, "runs": runs}))
    else:
        for run in runs:
            click.echo("entry {entry}: {predicted_cycles} cycles predicted, {measured_cycles} measured".format(**run))


@main.command("asm")
@click.argument("file", type=click.File())
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The program to write.")
@CONFIG
def asm_command(file, output, config_name):
    """Assemble FILE (- for standard input) to a program file. It starts at its first instruction."""
    config = preset(config_name)
    program = Program.from_instructions(config, assemble(config, file.read()))
    program.save(output)
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
@BACKEND
@JSON
def bench_command(config_name, backend, as_json):
    """Matrix products on the tile: cycles from go to done, fill and drain included."""
    config = preset(config_name)
    backend = backend or default_backend()
    rows = []
    if not as_json:
        click.echo(f"{config.name}: {config.rows} x {config.cols} multiply-accumulates a cycle, backend {backend}")
        click.echo(f"{'product':<20}{'MACs':>10}{'predicted':>12}{'measured':>12}{'utilisation':>13}")
    for row in bench(config, lambda: _open(config, backend)):
        rows.append(asdict(row))
        if not as_json:
            click.echo(f"{row.name:<20}{row.macs:>10}{row.predicted_cycles:>12}{row.measured_cycles:>12}"
                       f"{row.utilisation:>12.1%} ")
    if as_json:
        click.echo(json.dumps({"config": config.name, "backend": backend, "rows": rows}))


@main.command("report")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--position", type=click.IntRange(min=0), default=127, show_default=True, help="Position of the token.")
@JSON
def report_command(file, position, as_json):
    """Where the cycles of a token of a compiled model FILE go, product by product."""
    program = Program.load(file)
    if program.model is None or position >= program.model.context:
        raise MareyError(f"{file}: has no token at position {position} to report on")
    rows, total = phases(program, position), program.cycles(position)
    if as_json:
        click.echo(json.dumps({
            "model": program.name, "config": program.config.name, "program_words": len(program.image.instructions),
            "memory": {"wram_words": len(program.image.weights)}, "position": position, "cycles": total, "phases": rows}))
        return
    click.echo(program.summary())
    click.echo(f"{f'token at position {position}':<24}{'cycles':>8}{'MAC floor':>11}{'idle before':>13}")
    for row in rows:
        click.echo("{name:<24}{cycles:>8}{mac_floor_cycles:>11.1f}{idle_before:>13}".format(**row))
    floor = program.model.shape.macs(position) / program.config.macs
    click.echo(f"{'all':<24}{total:>8}{floor:>11.1f}{sum(row['idle_before'] for row in rows):>13}  {floor / total:.1%}")


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
        path.write_text(content)
        click.echo(path)


@main.command("export")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True,
              help="File to write: FILE.gguf, or FILE.bin for llama2.c's format with a tokenizer.bin beside it.")
@TOKENIZER
@click.option("--type", "kind", type=click.Choice(["f32", "q8_0", "q4_0"]), default="f32", show_default=True,
              help="Of the matrices in a GGUF file.")
def export_command(model, output, tokenizer, kind):
    """Write MODEL in another format."""
    loaded = load_model(model)
    words = load_tokenizer(tokenizer, model, loaded.config.vocab_size)
    match output.suffix, kind:
        case ".gguf", _:
            gguf.write(output, loaded, words, kind.upper())
        case ".bin", "f32":
            llama2c.write(output, loaded)
            words.write(output.with_name("tokenizer.bin"))
        case _:
            raise MareyError(f"{output}: cannot write {kind} there: name a .gguf file, or a .bin file with f32")
    click.echo(f"{output}: {output.stat().st_size} bytes")


@main.command("eval")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--text", type=click.Path(path_type=Path), help="Text to judge by. Default: text sampled from the model.")
@TOKENIZER
@JSON
def eval_command(model, text, tokenizer, as_json):
    """Perplexity of MODEL in float32 and in the tile's integers, side by side."""
    result = evaluation.evaluate(model, text=text, tokenizer=tokenizer)
    if as_json:
        click.echo(json.dumps(result))
        return
    click.echo(f"{result['tokens']} tokens")
    click.echo(f"float32  perplexity {result['float32']['perplexity']:.4f}")
    click.echo("int8     perplexity {perplexity:.4f}  x{ratio:.4f}  top-1 agreement {top1_agreement:.1%}".format(
        **result["int8"]))


def _compile(model, tokenizer, config):
    loaded = load_model(model)
    return compile_model(loaded, config, load_tokenizer(tokenizer, model, loaded.config.vocab_size), name=Path(model).name)


def _open(config, backend):
    return Device(open_transport(config, backend or default_backend()), config)


def _generate(program, backend, prompt, steps, sampler, as_json):
    """Generates, streaming text to stdout, and prints the table or the JSON object."""
    backend = backend or default_backend()
    begun = time.monotonic()
    with _open(program.config, backend) as device:
        device.load(program)
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


if __name__ == "__main__":
    sys.exit(main())
