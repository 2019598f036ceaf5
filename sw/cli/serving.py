"""The command serve: an OpenAI-compatible server in front of tiles."""

import tempfile
from pathlib import Path

import click

from ...boards.targets import targets
from ...hdl.spec.errors import MareyError
from ...sim.progress import say
from ..formats.json_file import read_utf8
from ..program.program import Program
from ..runtime.conversation import template_of
from ..text.chat import LIMIT
from ..views.fit import fit
from .base import BURNED, MODEL_FILE, POSITIONS, TOKENIZER, main, on_device
from .compiling import load_or_compile_model, small_weights
from .configs import CONFIG
from .generation import TEMPLATE
from .verdict import FORCE

ASSUMED_HZ = 100e6
"""The clock of a tile that has never been placed and routed; an assumption."""


@main.command("serve")
@MODEL_FILE
@TOKENIZER
@CONFIG
@POSITIONS
@FORCE
@TEMPLATE
@click.option("--host", default="127.0.0.1", show_default=True,
              help="Address to listen on. Any but this machine's own needs an --api-key.")
@click.option("--http-port", type=click.IntRange(0, 65535), default=8000, show_default=True,
              help="TCP port to listen on; 0 takes a free one.")
@click.option("--api-key", envvar="MAREY_API_KEY", metavar="KEY", show_envvar=True,
              help="Bearer token that requests must have.")
@click.option("--tiles", "tile_count", type=click.IntRange(1, 64), default=1, show_default=True,
              help="Number of tiles, each in a process of its own.")
@click.option("--queue", "most_waiting", type=click.IntRange(min=1), default=256, show_default=True,
              help="Number of requests that may wait for a tile.")
@click.option("--max-body", "most_body_bytes", type=click.IntRange(1 << 10, 1 << 24), default=1 << 20, show_default=True,
              help="Largest body of a request, in bytes.")
@click.option("--clock-mhz", type=click.FloatRange(min=0, min_open=True),
              help="Clock at which cycles are told as seconds. Default: that of the first board with this tile, or the one "
                   "that place and route met for it; else 100, an assumption.")
@on_device
@BURNED
def serve_command(model, tokenizer, config, context, force, template, host, http_port, api_key, tile_count, most_waiting,
                  most_body_bytes, clock_mhz, connect, burned):
    """Serve MODEL, a model or program file, to clients of OpenAI's API, and tell each answer's cycles before its first
    token. A page to chat and to watch the tile is at the server's address."""
    serving = _module()
    if not api_key and not serving.is_loopback(host):
        raise MareyError(f"--host {host} can be reached from other machines: give an --api-key, or in the environment "
                         "MAREY_API_KEY")
    if tile_count > 1 and connect.backend == "serial":
        raise MareyError("a serial port has one tile: leave --tiles away")
    source = read_utf8(template, 4 * LIMIT) if template else None
    with serving.listen(host, http_port) as sock, tempfile.TemporaryDirectory() as folder:
        program = load_or_compile_model(model, tokenizer, config, _check, context, force).program
        where, path = f"http://{f'[{host}]' if ':' in host else host}:{sock.getsockname()[1]}", Path(folder, "program.marey")
        program.save(path)
        shape = program.model.shape
        service, server = serving.prepare(program, path, connect, serving.Settings(
            clock=serving.Clock(*_clock(program, clock_mhz)), template=template_of(program, source),
            speeds=lambda: fit(shape, targets(), small_weights(model, shape)), tile_count=tile_count, burned=burned,
            most_waiting=most_waiting, most_body_bytes=most_body_bytes, api_key=api_key or None))
        serving.serve(service, server, sock, lambda: say(
            f"marey: {program.name} on {tile_count} x {program.config.name}, {service.pool.tiles[0].backend}, at {where}: "
            f"a page to chat, and OpenAI's API at {where}/v1; Ctrl-C ends it"))


def _module():
    """The package `marey.sw.serve`. MareyError without the extra `serve`."""
    try:
        # Here, and not above, because its libraries are in the optional extra `serve`.
        from ..serve import server
    except ModuleNotFoundError as error:
        raise MareyError(f"marey serve needs {error.name}: pip install 'marey[serve]'") from None
    return server


def _check(program: Program) -> None:
    """MareyError for a program that makes no text."""
    if program.model is None or program.tokenizer is None:
        raise MareyError(f"{program.name or 'this program'}: was assembled by hand and has no model in it")


def _clock(program: Program, clock_mhz: float | None) -> tuple[float, str, int | None]:
    """The clock at which cycles are told as seconds: its rate in Hz, whose it is, and the baud rate of a board."""
    if clock_mhz:
        return clock_mhz * 1e6, "--clock-mhz", None
    same = [target for target in targets() if target.config.hash == program.config.hash and target.clock_hz]
    for target in sorted(same, key=lambda target: target.baud is None):
        return target.clock_hz, target.name, target.baud
    return ASSUMED_HZ, "an assumption", None
