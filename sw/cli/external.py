"""The command verify: whether external memory still holds a model."""

import json

import click

from ...hdl.spec.errors import MareyError
from ..runtime.loading import forget_external, verify_external
from .base import JSON, MODEL_FILE, TOKENIZER, main, on_device
from .compiling import load_or_compile_model
from .configs import CONFIG


@main.command("verify")
@MODEL_FILE
@TOKENIZER
@CONFIG
@on_device
@JSON
def verify_command(model, tokenizer, config, connect, as_json):
    """Read a model back from the external memory of a tile, segment by segment, and compare the checksums with those of what
    was compiled.

    What is not there is loaded before. A difference ends the command with status 1, and the next load writes everything."""
    program = load_or_compile_model(model, tokenizer, config, _check).program
    with connect(program.config) as device:
        device.load(program)
        try:
            count = verify_external(device.session, program)
        except MareyError:
            forget_external(device.session)
            raise
    octets = count and sum(words for words in (program.stream.weights.nbytes * program.config.weight_bits // 8,
                                               program.stream.constants.nbytes))
    if as_json:
        click.echo(json.dumps({"model": program.name, "config": program.config.name, "segments": count, "bytes": octets}))
    else:
        click.echo(f"{program.name} on {program.config.name}: {count} segments, {octets:,} bytes, are as compiled")


def _check(program):
    """MareyError for a program that has nothing in external memory."""
    if not (program.stream and program.stream.external):
        raise MareyError(f"{program.name or 'this program'} has nothing in external memory on {program.config.name}")
