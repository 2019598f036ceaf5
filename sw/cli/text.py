"""Commands that make text: generate, compile, run."""

import json
import math
import os
import time
from pathlib import Path

import click

from ...hdl.spec.config import preset
from ...hdl.spec.errors import MareyError
from ...sim.progress import progress
from ..formats import DEFAULT_MODEL
from ..program.program import Program
from ..runtime.generate import Generation, encode_prompt, generate
from ..runtime.session import ScheduleError
from ..runtime.verify import EmulatorReference, GoldenReference, Verifier, VerifyError
from ..text.sampling import Sampler
from .base import CONFIG, MODEL, MODEL_FILE, TOKENIZER, check_output, generation, main, standard_input
from .compiling import compile_file, compile_model_file
from .pace import Pace

TOKENS, LOGITS, OFF = "tokens", "logits", "off"
SIMULATED = ("verilator", "pysim")
"""Backends that simulate the tile's RTL, whose values are worth comparing with a reference."""


SHORT = {"--verify": f"--verify={TOKENS}", "--no-verify": f"--verify={OFF}"}
"""Spellings of --verify without a value."""


class Verifying(click.Command):
    """A command with --verify, which may be given without a value, and --no-verify."""

    def parse_args(self, ctx, args):
        end = args.index("--") if "--" in args else len(args)
        return super().parse_args(ctx, [SHORT.get(arg, arg) for arg in args[:end]] + args[end:])


def verify_option(default):
    """The option --verify; `default` says in words when it is on."""
    return click.option(
        "--verify", "verify", type=click.Choice([TOKENS, LOGITS, OFF]), metavar="[=tokens|logits]",
        help="Compare every token that the tile makes, or its logits too, with a reference that runs beside it; a difference "
             f"ends the run with status 1. --no-verify turns it off. Default: {default}.")


@main.command("generate", cls=Verifying)
@click.argument("prompt", default="")
@MODEL
@TOKENIZER
@CONFIG
@verify_option("on with verilator and pysim; the reference is the golden integer model")
@generation
def generate_command(prompt, model, tokenizer, config_name, verify, connect, burned, as_json, steps, temperature, top_p,
                     seed):
    """Generate text from PROMPT (- reads it from standard input) on the tile, and print the cycles that it took, predicted
    and measured."""
    prompt, sampler = _read_prompt(prompt), Sampler(temperature, top_p, seed)
    verify = _verify_level(verify, connect.backend, SIMULATED)
    compiled = compile_model_file(model or DEFAULT_MODEL, tokenizer, preset(config_name),
                                  lambda program: _check_prompt(program, prompt))
    verifier = Verifier(GoldenReference(compiled.quantised), verify == LOGITS) if verify != OFF else None
    _generate(compiled.program, connect, prompt, steps, sampler, burned, as_json, verifier)


@main.command("compile")
@MODEL_FILE
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Program file to write.")
@TOKENIZER
@CONFIG
def compile_command(model, output, tokenizer, config_name):
    """Compile MODEL to a program file for a configuration."""
    check_output(output, model, tokenizer)
    program = compile_file(model, tokenizer, preset(config_name))
    program.save(output)
    click.echo(f"{output}: {program.summary()}")


@main.command("run", cls=Verifying)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--prompt", default="", help="Text to begin with; - reads it from standard input.")
@verify_option("on with pysim; the reference is the emulator, which takes longer than verilator")
@generation
def run_command(file, prompt, verify, connect, burned, as_json, steps, temperature, top_p, seed):
    """Run a program FILE: generate text with it. A program that was assembled by hand is run once, for one token, and its
    cycles are printed."""
    prompt, sampler = _read_prompt(prompt), Sampler(temperature, top_p, seed)
    program = Program.load(file)
    if program.model is not None:
        _check_prompt(program, prompt)
        verify = _verify_level(verify, connect.backend, ("pysim",))
        verifier = Verifier(EmulatorReference(program), verify == LOGITS) if verify != OFF else None
        _generate(program, connect, prompt, steps, sampler, burned, as_json, verifier)
        return
    if prompt:
        raise MareyError(f"{file}: was assembled by hand, has no model in it, and takes no prompt")
    if verify in (TOKENS, LOGITS):
        raise MareyError(f"{file}: was assembled by hand and makes no tokens to compare: leave --verify away")
    with connect(program.config) as device:
        (device.adopt if burned else device.load)(program)
        with progress("running", program.cycles() / (device.transport.simulated_hz or math.inf) or None):
            device.run()
        runs = [{"entry": 0, "predicted_cycles": device.tally.predicted, "measured_cycles": device.tally.measured}]
    if as_json:
        click.echo(json.dumps({"config": program.config.name, "runs": runs}))
    else:
        for run in runs:
            click.echo("entry {entry}: {predicted_cycles} cycles predicted, {measured_cycles} measured".format(**run))


def _read_prompt(prompt: str) -> str:
    """The prompt, read from standard input if it is "-". MareyError if it is not UTF-8 text."""
    try:
        if prompt == "-":
            return standard_input("the prompt").decode("utf-8").removesuffix("\n")
        if any("\ud800" <= character <= "\udfff" for character in prompt):
            # Python decodes arguments by the language settings, which may name another encoding: these are the bytes.
            return os.fsencode(prompt).decode("utf-8")
        return prompt
    except UnicodeError as error:
        raise MareyError(f"the prompt is not UTF-8 text: {error}") from None


def _check_prompt(program: Program, prompt: str) -> None:
    """MareyError for a prompt that leaves no position of the program's context free."""
    encode_prompt(program.tokenizer, prompt, program.model.shape.bos, program.model.context)


def _verify_level(verify: str | None, backend: str, by_default: tuple[str, ...]) -> str:
    """What to compare: TOKENS, LOGITS or OFF. MareyError for an explicit --verify of the emulator, which is a reference."""
    if verify in (TOKENS, LOGITS) and backend == "emulator":
        raise MareyError("--verify compares a tile with a reference, and the emulator is one: choose another --backend")
    return verify or (TOKENS if backend in by_default else OFF)


def _generate(program, connect, prompt, steps, sampler, burned, as_json, verifier):
    """Generates, with the text streamed to stdout, and prints the table or the JSON object."""
    if lost := program.tokenizer.unencodable(prompt):
        click.echo(f"marey: warning: the model's vocabulary has no token for {' '.join(map(repr, lost))}: the model "
                   "does not see them", err=True)
    show = (lambda text: None) if as_json else (lambda text: click.echo(text, nl=False))
    begun = time.monotonic()
    with connect(program.config) as device:
        (device.adopt if burned else device.load)(program)
        try:
            result = generate(device, program, prompt, steps, sampler, show, verifier,
                              Pace(program, device.transport.simulated_hz))
        except (VerifyError, ScheduleError):
            show("\n")  # The message begins on a line of its own.
            raise
        simulated_hz = device.transport.simulated_hz
    _tell(program, connect.backend, result, time.monotonic() - begun, simulated_hz, as_json)


def _tell(program: Program, backend: str, result: Generation, wall_seconds: float, simulated_hz: float | None, as_json: bool):
    """Prints what a generation took."""
    if as_json:
        click.echo(json.dumps({"config": program.config.name, "backend": backend, **result.as_json(),
                               "wall_seconds": wall_seconds, "simulated_hz": simulated_hz}))
        return
    click.echo("\n")
    for label, value in result.table(simulated_hz):
        click.echo(f"{label:<28}{value}")
