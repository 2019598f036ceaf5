"""What all commands share: the group, its errors, options, and how a model becomes a program on a device."""

import warnings
import zipfile
from functools import reduce, wraps
from pathlib import Path

import click
from click.core import ParameterSource

from ...hdl.spec.config import PRESETS, Config
from ...hdl.spec.errors import MareyError
from ...sim.backends import BACKENDS, default_backend, open_transport
from ...sim.port import BAUD, PATIENCE
from ..compiler.compile import compile_model
from ..formats import DEFAULT_MODEL, load_model, load_tokenizer
from ..program.program import Program
from ..runtime.driver import Device


class Cli(click.Group):
    """Prints help when called bare, and a MareyError as one line."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except MareyError as error:
            click.echo(f"marey: {error}", err=True)
            ctx.exit(error.exit_code)
        except BrokenPipeError:
            raise  # click ends without a word, as whoever read the output has had enough
        except KeyboardInterrupt:
            click.echo("marey: interrupted", err=True)
            ctx.exit(1)
        except MemoryError:
            click.echo("marey: not enough memory for this", err=True)
            ctx.exit(2)
        except (OSError, UnicodeError) as error:
            where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
            click.echo(f"marey: {where}{getattr(error, 'strerror', None) or error}", err=True)
            ctx.exit(2)


MODEL_FILE = click.argument("model", type=click.Path(path_type=Path), default=DEFAULT_MODEL)
MODEL = click.option("--model", type=click.Path(path_type=Path),
                     help="llama2.c or GGUF file, or Hugging Face folder. Default: the one that ships with Marey.")
TOKENIZER = click.option("--tokenizer", type=click.Path(path_type=Path),
                         help="Tokenizer file. Default: the model's own, or tok<vocabulary>.bin or tokenizer.bin next to it.")
CONFIG = click.option("--config", "config_name", type=click.Choice(list(PRESETS)), default="sim8x8", show_default=True,
                      help="Configuration of the tile.")
DEVICE = (
    click.option("--backend", type=click.Choice(BACKENDS),
                 help="What runs the program. Default: serial with a --port, verilator where a C++ compiler is found, "
                      "else emulator."),
    click.option("--port", help="Serial port of a board, or the terminal of a virtual one."),
    click.option("--baud", type=click.IntRange(min=1), default=BAUD, show_default=True, help="Rate of the port."),
    click.option("--patience", type=click.FloatRange(min=0, min_open=True), default=PATIENCE, show_default=True,
                 help="Seconds of silence after which the port is given up."),
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, and nothing else.")
BURNED = click.option("--burned", is_flag=True, help="The board has loaded the program from its flash: do not send it.")
GENERATION = (
    click.option("--steps", type=click.IntRange(min=1), default=256, show_default=True,
                 help="Tokens to generate, at most: a text may end sooner."),
    click.option("--temperature", type=click.FloatRange(min=0), default=0.0, show_default=True,
                 help="0 takes the likeliest token; higher is more random."),
    click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True,
                 help="Draw from the likeliest tokens that together have this probability."),
    click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random draws."),
)


def on_device(command):
    """The options that say what runs a program. The command is given `backend`, the name, and `connect`, which makes a
    Device for a configuration."""
    @wraps(command)
    def with_device(*arguments, backend, port, baud, patience, **options):
        backend = backend or (default_backend() if port is None else "serial")
        if port is not None and backend != "serial":
            raise MareyError(f"--port {port} is for the backend serial, and not for {backend}")

        def connect(config: Config) -> Device:
            transport = open_transport(config, backend, port=port, baud=baud, patience=patience)
            try:
                return Device(transport, config)
            except MareyError:
                transport.close()
                raise

        return command(*arguments, backend=backend, connect=connect, **options)

    return _with(DEVICE, with_device)


def generation(command):
    """The options of a command that generates text, those of `on_device` included."""
    return _with((*GENERATION, BURNED, JSON), on_device(command))


def _with(options, command):
    return reduce(lambda command, option: option(command), reversed(options), command)


@click.group(cls=Cli, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="marey")
def main():
    """Marey: an open LPU. A model file in, a timetable out, text from a chip whose every cycle was known before."""
    click.get_current_context().with_resource(warnings.catch_warnings())
    warnings.showwarning = _print_warning


def _print_warning(message, *_):
    """Prints a warning as one line, without the place in the source code."""
    click.echo(f"marey: warning: {message}", err=True)


def apart(output: Path | None, *inputs: Path | None) -> None:
    """MareyError if what is to be written is a file that is to be read, or to be written, too."""
    for other in inputs:
        if output and other and (output == other or (output.exists() and other.exists() and output.samefile(other))):
            raise MareyError(f"{output}: is a file that this command needs otherwise: name another place")


def compile_file(model: Path, tokenizer: Path | None, config: Config) -> Program:
    """The program of a model file for a configuration."""
    loaded = load_model(model)
    return compile_model(loaded, config, load_tokenizer(tokenizer, model, loaded.config.vocab_size), name=Path(model).name)


def load_or_compile(path: Path, tokenizer: Path | None, config: Config) -> Program:
    """The program in a program file, or that of a model file. MareyError for a --config that is not the program's."""
    if path.is_file() and zipfile.is_zipfile(path):
        program = Program.load(path)
        if tokenizer:
            raise MareyError(f"{path}: a program has its tokenizer in it: leave --tokenizer away")
        if click.get_current_context().get_parameter_source("config_name") is ParameterSource.COMMANDLINE:
            program.check_config(config)
        return program
    return compile_file(path, tokenizer, config)
