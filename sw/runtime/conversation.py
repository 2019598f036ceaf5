"""Conversations: turns of a user and a model, written as the model's chat template has it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ...hdl.spec.errors import MareyError
from ..program.program import Program
from ..text.chat import END_NAMES, ChatTemplate, Message
from ..text.sampling import Sampler
from .decoder import Decoder
from .generate import STOP, Generation, continued


class Conversation:
    """A conversation with a model on a device. What the KV cache has of it is not run again.

    `decoder`: the device, with the program loaded. `template`: the model's, or another. `system`: a
    text that stands before all turns, if it is not empty. `steps`: most tokens of an answer.
    `stops`: texts that end an answer. `messages`: {"role", "content"} of each message so far.
    """

    def __init__(self, decoder: Decoder, template: ChatTemplate, sampler: Sampler | None = None, *, system: str = "",
                 steps: int = 256, stops: Iterable[str] = ()):
        self._decoder, self._sampler, self._steps, self._stops = decoder, sampler or Sampler(), steps, tuple(stops)
        self._template, self._system = template, opening(system)
        self.messages: list[Message] = [*self._system]
        self._written = "", []
        """The text and the tokens of the latest prompt and its answer."""

    def reset(self) -> None:
        """Begins anew, with the system text alone."""
        self.messages = [*self._system]

    def ask(self, question: str, show: Callable[[str], None], *, keep_going: Callable[[int], bool] = lambda left: True,
            forgotten: Callable[[int], None] = lambda turns: None) -> Generation:
        """Asks, and returns the answer, whose text `show` gets piece by piece.

        If the context has no room for the question and a short answer, the oldest turns are forgotten, until half of the
        context is free, and `forgotten` is called with their number; the system text stays. `keep_going`: as for
        `continued`. A question without an answer, since it was interrupted before, is not part of the conversation.
        MareyError if the context has no room for the question even so, and FormatError if the template refuses it;
        the conversation is as it was then.
        """
        program = self._decoder.program
        messages, tokens, turns = self._fitting([*self.messages, {"role": "user", "content": question}])
        if turns:
            forgotten(turns)
        result = continued(self._decoder, tokens, self._steps, self._sampler, show, stops=self._stops, ends=ends(program),
                           keep_going=keep_going)
        if result.tokens or not result.interrupted:
            # After a stop text the tokens have more in them than the answer.
            text = self._template.render(messages) + result.text
            self._written = ("", []) if result.ended_by == STOP else (text, [*tokens, *result.tokens])
            self.messages = [*messages, {"role": "assistant", "content": result.text}]
        return result

    def _tokens(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of a conversation, up to where the answer begins.

        A model may write a text in other tokens than those that the tokenizer makes of it. An answer keeps its own, which
        are in the KV cache, if the template has added nothing to it, and a special token follows.
        """
        tokenizer, (written, tokens) = self._decoder.program.tokenizer, self._written
        text = self._template.render(messages)
        rest = text[len(written):]
        if written and text.startswith(written) and rest.startswith(tuple(
                added.content for added in tokenizer.added.values() if added.special)):
            return [*tokens, *tokenizer.encode(rest, begin=False)]
        return tokenizer.encode(text, begin=False)

    def _fitting(self, messages: list[Message]) -> tuple[list[Message], list[int], int]:
        """(messages, their tokens, number of turns that were left out), such that the context has room for an answer."""
        program, first, turns = self._decoder.program, len(self._system), 0
        context = program.model.context
        tokens = self._tokens(messages)
        if len(tokens) + min(self._steps, context // 4) > context:
            while len(messages) > first + 1 and len(tokens) > context // 2:
                messages, turns = messages[:first] + messages[first + 2:], turns + 1
                tokens = self._tokens(messages)
        if len(tokens) >= context:
            raise MareyError(f"this question takes {len(tokens)} tokens, with what the template adds, and the context is "
                             f"{context}: shorten it")
        return messages, tokens, turns


def question(text: str, system: str = "") -> list[Message]:
    """The messages of a conversation that consists of one question."""
    return [*opening(system), {"role": "user", "content": text}]


def opening(system: str) -> list[Message]:
    """The messages before the first question: the system text, unless it is empty."""
    return [{"role": "system", "content": system}] if system else []


def prompt_tokens(program: Program, template: ChatTemplate, messages: Sequence[Message]) -> list[int]:
    """The tokens of a conversation, up to where the answer begins. FormatError if the template refuses it."""
    # The template has the tokens that begin a text in its own text.
    return program.tokenizer.encode(template.render(messages), begin=False)


def template_of(program: Program, source: str | None = None) -> ChatTemplate | None:
    """A program's chat template, or one with the text `source`, with the model's special tokens; None if there is neither."""
    shape, spelling = program.model.shape, program.tokenizer.spelling
    special = {"bos_token": spelling(shape.bos), **({"eos_token": spelling(shape.eos[0])} if shape.eos else {})}
    if program.template:
        special |= program.template.special
    found = ChatTemplate(source) if source is not None else program.template
    return found and replace(found, special=special)


def ends(program: Program) -> set[int]:
    """Tokens that end an answer, beside those that the model's file names: special ones with a name that says so."""
    return {token for token, added in program.tokenizer.added.items() if added.special and added.content in END_NAMES}
