"""Commands that make text: generate, compile, run."""

import json
import math
import os
import time
from pathlib import Path

import click

from ...hdl.spec.errors import MareyError
from ...sim.progress import progress
from ..formats import DEFAULT_MODEL
from ..program.program import Program
from ..runtime.generate import Generation, generate
from ..runtime.prefill import HostPrefill
from ..runtime.session import ScheduleError
from ..runtime.verify import Verifier, VerifyError
from .base import BURNED, JSON, MODEL, MODEL_FILE, POSITIONS, TOKENIZER, check_output, main, standard_input
from .compiling import Compiled, compile_file, compile_model_file
from .configs import CONFIG
from .generation import PromptBar, Wanted, generation
from .pace import Pace
from .prefilling import PREFILL, prefill_for
from .verdict import FORCE, judge
from .verifying import LOGITS, OF_MODEL, OF_PROGRAM, TOKENS, Verifying, check_verify, verifier_for, verify_option


@main.command("generate", cls=Verifying)
@click.argument("prompt", default="")
@MODEL
@TOKENIZER
@CONFIG
@POSITIONS
@verify_option(OF_MODEL)
@PREFILL
@FORCE
@generation
@BURNED
@JSON
def generate_command(prompt, model, tokenizer, config, context, verify, prefill, force, connect, wanted, burned, as_json):
    """Generate text from PROMPT (- reads it from standard input) on the tile, and print the cycles that it took, predicted
    and measured."""
    prompt = _read_prompt(prompt)
    check_verify(verify, connect.backend)
    compiled = compile_model_file(model or DEFAULT_MODEL, tokenizer, config,
                                  lambda program: wanted.prompt(program, prompt), context, force)
    verifier = verifier_for(compiled, verify, connect.backend)
    _generate(compiled.program, connect, prompt, wanted, burned, as_json, verifier,
              prefill_for(compiled, prefill, verifier))


@main.command("compile")
@MODEL_FILE
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Program file to write.")
@TOKENIZER
@CONFIG
@POSITIONS
@FORCE
def compile_command(model, output, tokenizer, config, context, force):
    """Compile MODEL to a program file for a configuration."""
    check_output(output, model, tokenizer)
    program = compile_file(model, tokenizer, config, context=context, force=force)
    program.save(output)
    click.echo(f"{output}: {program.summary()}")


@main.command("run", cls=Verifying)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--prompt", default="", help="Text to begin with; - reads it from standard input.")
@verify_option(OF_PROGRAM)
@generation
@BURNED
@JSON
def run_command(file, prompt, verify, connect, wanted, burned, as_json):
    """Run a program FILE: generate text with it. A program that was assembled by hand is run once, for one token, and its
    cycles are printed."""
    prompt = _read_prompt(prompt)
    program = Program.load(file)
    if program.model is not None:
        judge(program.name, program.model.quality)
        wanted.prompt(program, prompt)
        check_verify(verify, connect.backend)
        verifier = verifier_for(Compiled(program, None), verify, connect.backend)
        _generate(program, connect, prompt, wanted, burned, as_json, verifier)
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


def _generate(program: Program, connect, prompt: str, wanted: Wanted, burned: bool, as_json: bool,
              verifier: Verifier | None, prefill: HostPrefill | None = None) -> None:
    """Generates, with the text streamed to stdout, and prints the table or the JSON object."""
    warn_of_lost(program, prompt)
    warn_of_no_blocks(program, prompt)
    show = (lambda text: None) if as_json else (lambda text: click.echo(text, nl=False))
    # A bar would cover a prompt that was shown before.
    keep_going = PromptBar() if wanted.chat or as_json else lambda left: True
    begun = time.monotonic()
    with connect(program.config) as device:
        (device.adopt if burned else device.load)(program)
        try:
            result = generate(device, program, wanted.prompt(program, prompt), wanted.steps, wanted.sampler, show, verifier,
                              stops=wanted.stops, logprobs=wanted.logprobs, keep_going=keep_going,
                              during=Pace(program, device.transport.simulated_hz), prefill=prefill)
        except (VerifyError, ScheduleError):
            show("\n")  # The message begins on a line of its own.
            raise
        simulated_hz = device.transport.simulated_hz
    _tell(program, connect.backend, result, time.monotonic() - begun, simulated_hz, as_json)


def warn_of_lost(program: Program, prompt: str) -> None:
    """Says on stderr which characters of a prompt the model does not see, if there are any."""
    if lost := program.tokenizer.unencodable(prompt):
        click.echo(f"marey: warning: the model's vocabulary has no token for {' '.join(map(repr, lost))}: the model "
                   "does not see them", err=True)


def warn_of_no_blocks(program: Program, prompt: str) -> None:
    """Says on stderr why a prompt takes all weights from external memory for each of its tokens, if it does."""
    if prompt and program.stream and program.stream.external and program.stream.no_block:
        click.echo(f"marey: warning: the prompt is run {program.stream.prompts}", err=True)


def _tell(program: Program, backend: str, result: Generation, wall_seconds: float, simulated_hz: float | None, as_json: bool):
    """Prints what a generation took."""
    if as_json:
        click.echo(json.dumps({"config": program.config.name, "backend": backend, **result.as_json(),
                               "wall_seconds": wall_seconds, "simulated_hz": simulated_hz}))
        return
    click.echo("\n")
    for label, value in result.table(simulated_hz):
        click.echo(f"{label:<28}{value}")
    for each in result.logprobs or ():
        others = "  ".join(f"{other['text']!r} {other['logprob']:.4f}" for other in each["top"])
        click.echo(f"{each['text']!r:<16}{each['logprob']:>9.4f}  of  {others}")
