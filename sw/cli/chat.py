"""The command chat: a conversation on the terminal."""

import signal
import sys
from contextlib import suppress

import click

from ...hdl.spec.errors import MareyError
from ..program.program import Program
from ..runtime.conversation import Conversation, prompt_tokens, question
from ..runtime.decoder import Decoder
from ..runtime.generate import CONTEXT, STEPS, Generation
from ..runtime.session import ScheduleError
from ..runtime.verify import VerifyError
from .base import BURNED, MODEL_FILE, POSITIONS, TOKENIZER, main
from .compiling import load_or_compile_model
from .configs import CONFIG
from .generation import PromptBar, drawing
from .pace import Pace
from .prefilling import PREFILL, prefill_for
from .text import warn_of_lost
from .verdict import FORCE
from .verifying import OF_MODEL, Verifying, check_verify, verifier_for, verify_option

PROMPT = "> "
HELP = "/reset begins anew, /quit or Ctrl-D leaves, Ctrl-C ends an answer"


@main.command("chat", cls=Verifying)
@MODEL_FILE
@TOKENIZER
@CONFIG
@POSITIONS
@verify_option(OF_MODEL)
@PREFILL
@FORCE
@drawing
@BURNED
def chat_command(model, tokenizer, config, context, verify, prefill, force, connect, wanted, burned):
    """Talk with MODEL, a model or program file, in turns, each of which is run on the tile.

    What the tile's KV cache has of the conversation is not run again. Where the context is full, the oldest turns are
    forgotten."""
    check_verify(verify, connect.backend)
    compiled = load_or_compile_model(model, tokenizer, config, lambda program: _check(program, wanted),
                                     context, force)
    program, verifier = compiled.program, verifier_for(compiled, verify, connect.backend)
    host = prefill_for(compiled, prefill, verifier)
    with connect(program.config) as device:
        (device.adopt if burned else device.load)(program)
        conversation = Conversation(Decoder(device, program, verifier, Pace(program, device.transport.simulated_hz), host),
                                    wanted.template_for(program), wanted.sampler,
                                    system=wanted.system, steps=wanted.steps, stops=wanted.stops)
        _say(f"{program.name} on {program.config.name}, {connect.backend}, a context of {program.model.context} tokens; {HELP}")
        _talk(conversation, program)


def _check(program: Program, wanted) -> None:
    """MareyError for what cannot chat: a program without a model, a model without a template, too small a context."""
    if program.model is None:
        raise MareyError(f"{program.name or 'this program'}: was assembled by hand and has no model in it")
    least = len(prompt_tokens(program, wanted.template_for(program), question("", wanted.system)))
    if least >= program.model.context:
        raise MareyError(f"{program.name}: the template and --system alone take {least} tokens, and the context on "
                         f"{program.config.name} has {program.model.context}: choose a larger --config")


def _talk(conversation: Conversation, program: Program) -> None:
    """Asks for questions and answers them, until the input ends."""
    if sys.stdin.isatty():
        # Imported, it gives `input` a line to edit, and a history. Here, and not above, because some versions of it write to
        # stdout then. Windows has none.
        with suppress(ImportError):
            import readline  # noqa: F401
    while (asked := _read()) is not None:
        match asked.strip():
            case "":
                pass
            case "/quit" | "/exit":
                return
            case "/reset":
                conversation.reset()
                _say("the conversation begins anew")
            case "/help":
                _say(HELP)
            case _:
                _answer(conversation, program, asked)


def _read() -> str | None:
    """A line of the user; None at the end of the input. Ctrl-C leaves the line, and asks for another."""
    prompt = PROMPT if sys.stdin.isatty() and sys.stdout.isatty() else ""
    while True:
        try:
            return input(prompt)
        except EOFError:
            if prompt:
                click.echo()
            return None
        except KeyboardInterrupt:
            click.echo()


def _answer(conversation: Conversation, program: Program, asked: str) -> None:
    """Prints an answer, and what there is to say about it."""
    bar = PromptBar()
    with Interrupt() as interrupt:
        try:
            warn_of_lost(program, asked)
            result = conversation.ask(asked, lambda text: click.echo(text, nl=False), forgotten=_forgotten,
                                      keep_going=lambda left: bar(left) and not interrupt.pressed)
        except (VerifyError, ScheduleError):
            click.echo()  # The message begins on a line of its own.
            raise
        except MareyError as error:
            if error.exit_code != MareyError.exit_code:
                raise  # The run failed, and the next one would, too.
            _say(str(error))
            return
        finally:
            bar.close()
    click.echo()
    _say(_about(result, program))


def _about(result: Generation, program: Program) -> str:
    """What an answer took, and why it ended if that was not for the model to say."""
    why = {CONTEXT: f"the context of {program.model.context} tokens is full, and the answer ends here; ",
           STEPS: f"the answer ends after {len(result.tokens)} tokens (--steps); "}.get(result.ended_by, "")
    if result.interrupted:
        why = "interrupted; "
    host = f" and {result.host_count} are the host's" * bool(result.host_count)
    return (f"{why}{len(result.tokens)} tokens after {len(result.prompt_tokens)}, {result.known_count} of which were "
            f"known{host}; {result.measured_cycles:,} cycles, as predicted")


def _forgotten(turns: int) -> None:
    _say(f"the context is full: the oldest {f'{turns} turns are' if turns > 1 else 'turn is'} forgotten")


def _say(line: str) -> None:
    """Prints a line that is not the model's, to stderr."""
    click.echo(f"({line})", err=True)


class Interrupt:
    """While the `with` block works, Ctrl-C does not end the program: it sets `pressed`.

    A token that is under way is finished, so that the tile and its KV cache stay in step with the conversation.
    """

    def __init__(self):
        self.pressed = False

    def __enter__(self):
        self._before = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, *_):
        signal.signal(signal.SIGINT, self._before)

    def _press(self, *_):
        self.pressed = True
