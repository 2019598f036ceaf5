"""What a request asks for: the prompt's tokens, how many are wanted, and how they are drawn."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from ...hdl.spec.errors import MareyError
from ..program.program import Program
from ..runtime.conversation import ends, prompt_tokens
from ..text.chat import ChatTemplate
from ..text.sampling import COLDEST, Sampler
from .body import Body
from .errors import ApiError
from .job import Job

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
"""Roles of messages, and how templates call them."""
MOST_STOPS, MOST_TOP_CHAT, MOST_TOP_TEXT = 4, 20, 5
"""Stop texts of a request, and likeliest tokens to list for each token, in chats and in completions."""
LEAST_TOP_P = 1e-12
"""The least `top_p`, which leaves the likeliest token alone, as OpenAI's 0 does."""
SHORT = 16
"""Tokens of a completion that does not say how many it wants: OpenAI's default."""


@dataclass(frozen=True)
class Asked:
    """A request that can be answered.

    `job`: what the tile gets. `top`: the likeliest tokens to list for each token; None lists no
    log-probabilities. `echo`: text to put before a completion.
    """

    job: Job
    seed: int
    stream: bool
    include_usage: bool
    top: int | None
    echo: str = ""


class Asker:
    """Reads requests for one program. `model`: the name by which it is asked for; `template`: for chats, or None.

    ApiError for a request that cannot be answered.
    """

    def __init__(self, program: Program, model: str, template: ChatTemplate | None):
        self._program, self._model, self._template = program, model, template
        self._context = program.model.context

    def chat(self, body: Body) -> Asked:
        """A request of /v1/chat/completions."""
        self._check_model(body)
        if self._template is None:
            raise ApiError(f"{self._model} has no chat template: ask /v1/completions, or start marey serve with "
                           "--template FILE", code="no_chat_template")
        messages = _messages(body.get("messages"))
        body.only("response_format", {"type": "text"})
        body.only("tool_choice", "none", "auto")
        body.only("functions", [])
        tokens = self._fitting("messages", lambda: prompt_tokens(self._program, self._template, messages))
        wanted = body.whole("max_completion_tokens", None, 1)
        wanted = wanted or body.whole("max_tokens", self._context, 1)
        shown, top = body.flag("logprobs"), body.whole("top_logprobs", 0, 0, MOST_TOP_CHAT)
        if top and not shown:
            raise ApiError("top_logprobs needs logprobs to be true", param="top_logprobs")
        return self._asked(body, tokens, wanted, top if shown else None, ends(self._program))

    def completion(self, body: Body) -> Asked:
        """A request of /v1/completions."""
        self._check_model(body)
        body.only("best_of", 1)
        body.only("suffix", "")
        prompt, facts = _prompt(body.get("prompt")), self._program.model
        if not isinstance(prompt, str) and not all(token < facts.shape.vocab_size for token in prompt):
            raise ApiError(f"prompt has a token that is none of the model's {facts.shape.vocab_size}", param="prompt")
        tokens = self._fitting("prompt", lambda: (
            self._program.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt) or [facts.shape.bos])
        top = body.whole("logprobs", None, 0, MOST_TOP_TEXT)
        echo = ""
        if body.flag("echo"):
            body.only("logprobs")
            echo = prompt if isinstance(prompt, str) else self._program.tokenizer.decode(prompt)
        return self._asked(body, tokens, body.whole("max_tokens", SHORT, 1), top, set(), echo)

    def _check_model(self, body: Body) -> None:
        check_model(body.text("model"), self._model)

    def _fitting(self, param, encode) -> list[int]:
        """The prompt's tokens. ApiError if the context has no room for one more."""
        try:
            tokens = encode()
        except MareyError as error:
            raise ApiError(str(error), param=param) from None
        if len(tokens) >= self._context:
            raise ApiError(f"{self._model} has a context of {self._context} tokens here, and the prompt alone has "
                           f"{len(tokens)}", param=param, code="context_length_exceeded")
        return tokens

    def _asked(self, body, tokens, steps, top, end_tokens, echo="") -> Asked:
        body.only("n", 1)
        for name in ("frequency_penalty", "presence_penalty"):
            body.only(name, 0, 0.0)
        body.only("logit_bias", {})
        seed = body.whole("seed", secrets.randbits(31), -2**63)
        temperature, top_p = body.number("temperature", 1, 0, 2), body.number("top_p", 1, 0, 1)
        # What is too small for the sampler means the same as its least value: the likeliest token.
        sampler = Sampler(
            0 if temperature < COLDEST else temperature, max(top_p, LEAST_TOP_P), seed % 2**64,
            body.whole("top_k", 0, 0), body.number("min_p", 0, 0, 1), body.number("repeat_penalty", 1, 1, 10))
        job = Job(tuple(tokens), min(steps, self._context - len(tokens) + 1), sampler, body.texts("stop", MOST_STOPS),
                  frozenset(end_tokens), 0 if top is None else max(top, 1))
        usage = body.object("stream_options").get("include_usage")
        if not isinstance(usage, bool | None):
            raise ApiError("stream_options.include_usage must be true or false", param="stream_options",
                           code="invalid_type")
        return Asked(job, seed, body.flag("stream"), bool(usage), top, echo)


def check_model(asked: str, model: str) -> None:
    """ApiError for a model that is not served."""
    if asked != model:
        raise ApiError(f"the model {asked[:100]!r} does not exist here: there is {model!r}", 404, "model", "model_not_found")


def _messages(value: object) -> list[dict[str, str]]:
    """{"role", "content"} of each message. ApiError for what is no list of messages with text."""
    if not isinstance(value, list) or not value:
        raise ApiError("messages must be a list of at least one message", param="messages")
    return [_message(message, f"messages[{number}]") for number, message in enumerate(value)]


def _message(message: object, where: str) -> dict[str, str]:
    if not isinstance(message, dict) or not isinstance(role := message.get("role"), str) or role not in ROLES:
        raise ApiError(f"{where} must be an object whose role is {', '.join(ROLES)}", param=where)
    content = message.get("content")
    if content is None and role == "assistant":
        content = ""
    if isinstance(content, list):
        content = "".join(_part(part, where) for part in content)
    if not isinstance(content, str):
        raise ApiError(f"{where} must have a content that is text", param=where)
    return {"role": ROLES[role], "content": content}


def _part(part: object, where: str) -> str:
    if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
        raise ApiError(f"{where} must have parts of the type text: the model reads nothing else", param=where)
    return part["text"]


def _prompt(value: object) -> str | Sequence[int]:
    """A text, or tokens. ApiError for anything else, and for several prompts."""
    if isinstance(value, list) and len(value) == 1 and not _is_token(value[0]):
        value = value[0]
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(map(_is_token, value)):
        return value
    raise ApiError("prompt must be one string, or one list of tokens", param="prompt")


def _is_token(value: object) -> bool:
    return type(value) is int and value >= 0
