"""The options of commands that make text: how many tokens, how they are drawn, what ends the text."""

from dataclasses import dataclass
from functools import wraps
from pathlib import Path

import click
from tqdm import tqdm

from ...hdl.spec.errors import MareyError
from ...sim.progress import DELAY_S
from ..formats.json_file import read_utf8
from ..program.program import Program
from ..runtime.conversation import prompt_tokens, question, template_of
from ..runtime.generate import check_room, encode_prompt
from ..text.chat import LIMIT, ChatTemplate
from ..text.sampling import Sampler
from ..text.stops import Stops
from .base import on_device, with_options

STEPS = click.option("--steps", type=click.IntRange(min=1), default=256, show_default=True,
                     help="Largest number of tokens to generate; a text may end sooner.")
DRAWING = (
    click.option("--temperature", type=click.FloatRange(min=0), default=0.0, show_default=True,
                 help="0 takes the likeliest token; a higher value draws more randomly."),
    click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True,
                 help="Draw from the likeliest tokens that together have this probability."),
    click.option("--top-k", type=click.IntRange(min=0), default=0, show_default=True,
                 help="Draw from this many of the likeliest tokens; 0 draws from all."),
    click.option("--min-p", type=click.FloatRange(0, 1), default=0.0, show_default=True,
                 help="Draw only tokens that have at least this part of the likeliest token's probability."),
    click.option("--repeat-penalty", type=click.FloatRange(min=1), default=1.0, show_default=True,
                 help="More than 1 makes the latest 64 tokens less likely to come again."),
    click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random draws."),
    click.option("--stop", "stops", multiple=True, metavar="TEXT",
                 help="Text that ends the text, and is not shown; may be given more than once."),
)
SYSTEM = click.option("--system", metavar="TEXT", default="",
                      help="Text that tells the model how to behave, before the question.")
TEMPLATE = click.option("--template", type=click.Path(path_type=Path, dir_okay=False),
                        help="File with a chat template (Jinja), for a model that has none, or instead of its own.")
CHAT = click.option("--chat", is_flag=True,
                    help="The prompt is a question: put it into the model's chat template, and print the answer alone. "
                         "--system and --template imply it.")
LOGPROBS = click.option("--logprobs", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
                        help="List the log-probability of each token, and of the N likeliest in its place.")


@dataclass(frozen=True)
class Wanted:
    """What the options ask for. `system` and `template` are for chats; `chat`: whether the prompt is a question of one."""

    steps: int
    sampler: Sampler
    stops: tuple[str, ...]
    logprobs: int = 0
    chat: bool = False
    system: str = ""
    template: str | None = None

    def prompt(self, program: Program, prompt: str) -> str | list[int]:
        """What `generate` takes for a prompt: it, or the tokens of the chat template with it.

        MareyError for a prompt that leaves no position of the program's context free, and for a chat without a template.
        """
        if not self.chat:
            encode_prompt(program.tokenizer, prompt, program.model.shape.bos, program.model.context)
            return prompt
        tokens = prompt_tokens(program, self.template_for(program), question(prompt, self.system))
        return check_room(tokens, program.model.context)

    def template_for(self, program: Program) -> ChatTemplate:
        """The template that was given, or the program's own. MareyError if there is neither."""
        if found := template_of(program, self.template):
            return found
        raise MareyError(f"{program.name}: the model has no chat template, so it has not learnt to answer: give one with "
                         "--template FILE, or use marey generate")


def drawing(command):
    """Adds the options of a chat: those of the sampler, of the template, and those of `on_device`. The command is called with
    `wanted`, a Wanted. MareyError for values out of range."""
    return with_options((STEPS, *DRAWING, SYSTEM, TEMPLATE), on_device(_wanted(command, chat=True)))


def generation(command):
    """The same for a command that continues one prompt."""
    return with_options((STEPS, *DRAWING, CHAT, SYSTEM, TEMPLATE, LOGPROBS), on_device(_wanted(command)))


def _wanted(command, **always):
    """The command, called with a Wanted instead of the options; `always`: options that it has no choice of."""
    @wraps(command)
    def called(*arguments, **options):
        return _called(command, arguments, **options, **always)

    return called


def _called(command, arguments, *, steps, temperature, top_p, seed, top_k, min_p, repeat_penalty, stops, system, template, chat,
            logprobs=0, **options):
    sampler = Sampler(temperature, top_p, seed, top_k, min_p, repeat_penalty)
    Stops(stops)  # which refuses an empty one
    source = read_utf8(template, 4 * LIMIT) if template else None
    chat = chat or bool(system) or source is not None
    return command(*arguments, wanted=Wanted(steps, sampler, stops, logprobs, chat, system, source), **options)


class PromptBar:
    """A progress bar on stderr for a prompt that takes more than some seconds; `keep_going` of `generate`."""

    def __init__(self):
        self._bar = None

    def __call__(self, left: int) -> bool:
        if self._bar is None and left:
            self._bar = tqdm(total=left + 1, desc="reading the prompt", unit="token", disable=None, leave=False,
                             delay=DELAY_S)
        if self._bar is not None:
            self._bar.update(self._bar.total - left - self._bar.n)
            if not left:
                self.close()
        return True

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
