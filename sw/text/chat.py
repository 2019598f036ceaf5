"""Chat templates: how a model wants a conversation to be written, as Jinja text that comes with the
model.

The language is that of transformers: https://huggingface.co/docs/transformers/chat_templating.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from jinja2 import TemplateError, TemplateSyntaxError
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ..errors import FormatError

LIMIT = 1 << 20
"""Characters of a template; a longer one is not read."""
END_NAMES = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|endoftext|>", "<|end_of_text|>", "<end_of_turn>",
             "<|end_of_turn|>", "<|END_OF_TURN_TOKEN|>", "</s>")
"""Special tokens that end a turn, whether or not the model's file says so; llama.cpp knows them, too."""
Message = Mapping[str, str]


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template. FormatError if it is not Jinja.

    `source`: its text. `special`: texts of special tokens by the names that templates have for
    them, such as "bos_token".
    """

    source: str
    special: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        if len(self.source) > LIMIT:
            raise FormatError(f"a chat template of {len(self.source)} characters, too large to be one")
        try:
            object.__setattr__(self, "_template", _environment().from_string(self.source))
        except TemplateSyntaxError as error:
            raise FormatError(f"its chat template is damaged: line {error.lineno}: {error.message}") from None

    def render(self, messages: Sequence[Message]) -> str:
        """The text of a conversation, up to where the model's answer begins.

        `messages`: {"role", "content"} of each, the roles "system", "user" and "assistant". Special
        tokens are in the text: encode it without any before it. FormatError if the template refuses
        these messages, or cannot do with them.
        """
        try:
            return self._template.render(messages=list(messages), add_generation_prompt=True, tools=None, documents=None,
                                         **self.special)
        except (TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise FormatError(f"the model's chat template refuses this conversation: "
                              f"{' '.join(str(error).split())[:200]}") from None


class Answers(Extension):
    """The tag `generation`, with which transformers marks answers for training: here it changes nothing."""

    tags = {"generation"}  # noqa: RUF012 - as Jinja's own extensions have it

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment():
    """What templates may use: as in transformers, and nothing that reaches out of the sandbox."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                                extensions=[Answers, "jinja2.ext.loopcontrols"])
    environment.filters["tojson"] = _tojson
    environment.globals |= {"raise_exception": _refuse, "strftime_now": lambda text: datetime.now().strftime(text)}
    return environment


def _tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    """JSON without the escapes that Jinja's own filter makes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message):
    raise TemplateError(message)
