"""Jinja, in which chat templates are written."""

import json
from datetime import datetime

from jinja2 import TemplateError, TemplateSyntaxError
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ..errors import FormatError


class Template:
    """A chat template that has been read. FormatError for a source that is not Jinja."""

    def __init__(self, source: str):
        try:
            self._template = _environment().from_string(source)
        except TemplateSyntaxError as error:
            raise FormatError(f"its chat template is damaged: line {error.lineno}: {error.message}") from None

    def render(self, **values) -> str:
        """The text for these values, by name. FormatError if the template refuses them, or cannot do with them."""
        try:
            return self._template.render(**values)
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
