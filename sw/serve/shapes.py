"""The objects of OpenAI's API: chat completions, completions, and the chunks of their streams.

Source: OpenAI's API reference, https://platform.openai.com/docs/api-reference.
"""

import secrets
import time
from collections.abc import Sequence

from ..runtime.generate import CONTEXT, STEPS
from .asked import Asked

FINISH = {STEPS: "length", CONTEXT: "length"}
"""`finish_reason` by what ended a text; any other is "stop"."""


class Shape:
    """Makes the objects of one answer. `chunk_kind`, `whole_kind`: their field `object`; `prefix`: of their id."""

    prefix = whole_kind = chunk_kind = ""

    def __init__(self, asked: Asked, model: str, fingerprint: str):
        self._asked = asked
        self._common = {"id": f"{self.prefix}-{secrets.token_hex(12)}", "created": int(time.time()), "model": model,
                        "system_fingerprint": fingerprint}
        self._at = len(asked.echo)
        """Characters of the text so far."""

    def first(self, marey: dict) -> list[dict]:
        """The chunks before the first text."""
        raise NotImplementedError

    def piece(self, text: str, logprobs: Sequence[dict], marey: dict) -> dict:
        """A chunk with a text, and the log-probabilities of the tokens that it comes from."""
        raise NotImplementedError

    def last(self, ended_by: str, marey: dict) -> dict:
        """The chunk that says why the text has ended."""
        raise NotImplementedError

    def choice(self, text: str, logprobs: Sequence[dict], reason: str) -> dict:
        """The choice of an answer that is sent as a whole."""
        raise NotImplementedError

    def whole(self, text: str, logprobs: Sequence[dict], ended_by: str, usage: dict, marey: dict) -> dict:
        """The answer as a whole."""
        choice = self.choice(text, logprobs, FINISH.get(ended_by, "stop"))
        return {"object": self.whole_kind, **self._common, "choices": [choice], "usage": usage, "marey": marey}

    def usage(self, usage: dict) -> dict:
        """The chunk with the number of tokens."""
        return {"object": self.chunk_kind, **self._common, "choices": [], "usage": usage}

    def _chunk(self, choice: dict, reason: str | None, logprobs: dict | None, marey: dict) -> dict:
        usage = {"usage": None} if self._asked.include_usage else {}
        return {"object": self.chunk_kind, **self._common,
                "choices": [{"index": 0, **choice, "logprobs": logprobs, "finish_reason": reason}], **usage, "marey": marey}


class Chat(Shape):
    """Of /v1/chat/completions."""

    prefix, whole_kind, chunk_kind = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def first(self, marey):
        return [self._chunk({"delta": {"role": "assistant", "content": ""}}, None, None, marey)]

    def piece(self, text, logprobs, marey):
        return self._chunk({"delta": {"content": text}}, None, self._logprobs(logprobs), marey)

    def last(self, ended_by, marey):
        return self._chunk({"delta": {}}, FINISH.get(ended_by, "stop"), None, marey)

    def choice(self, text, logprobs, reason):
        return {"index": 0, "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": self._logprobs(logprobs), "finish_reason": reason}

    def _logprobs(self, entries):
        if self._asked.top is None:
            return None
        return {"content": [{**_entry(entry), "top_logprobs": [_entry(top) for top in entry["top"][:self._asked.top]]}
                            for entry in entries], "refusal": None}


class Completion(Shape):
    """Of /v1/completions."""

    prefix, whole_kind, chunk_kind = "cmpl", "text_completion", "text_completion"

    def first(self, marey):
        return [self._chunk({"text": self._asked.echo}, None, None, marey)]

    def piece(self, text, logprobs, marey):
        return self._chunk({"text": text}, None, self._logprobs(logprobs), marey)

    def last(self, ended_by, marey):
        return self._chunk({"text": ""}, FINISH.get(ended_by, "stop"), None, marey)

    def choice(self, text, logprobs, reason):
        return {"index": 0, "text": self._asked.echo + text, "logprobs": self._logprobs(logprobs), "finish_reason": reason}

    def _logprobs(self, entries):
        if self._asked.top is None:
            return None
        offsets = []
        for entry in entries:
            offsets.append(self._at)
            self._at += len(entry["text"])
        return {"tokens": [entry["text"] for entry in entries], "token_logprobs": [entry["logprob"] for entry in entries],
                "top_logprobs": [{top["text"]: top["logprob"] for top in entry["top"][:self._asked.top]} for entry in entries],
                "text_offset": offsets}


def _entry(entry: dict) -> dict:
    """A token with its log-probability, as chats list it."""
    return {"token": entry["text"], "logprob": entry["logprob"], "bytes": list(entry["text"].encode("utf-8", "replace"))}


def usage(prompt_count: int, made_count: int, known_count: int) -> dict:
    """The object `usage`: numbers of tokens."""
    return {"prompt_tokens": prompt_count, "completion_tokens": made_count, "total_tokens": prompt_count + made_count,
            "prompt_tokens_details": {"cached_tokens": known_count}}
