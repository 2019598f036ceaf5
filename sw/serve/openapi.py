"""The description of the API in OpenAPI 3.1: paths, what they take, and what they answer.

Source: https://spec.openapis.org/oas/v3.1.1.html. Ranges are those of `asked.py`; the tests hold
both together: what the description allows is answered, what it forbids is refused.
"""

from ..program.program import Program
from .asked import MOST_STOPS, MOST_TOP_CHAT, MOST_TOP_TEXT, ROLES

LONGEST = 2**63 - 1
TEXT, FLAG, COUNT = {"type": "string"}, {"type": "boolean"}, {"type": "integer", "minimum": 0}
REFUSALS = {
    400: "a field is wrong",
    401: "no API key, or a wrong one",
    403: "the server is called by another name",
    404: "no such path or model",
    405: "the path has another method",
    408: "the body has not come in time",
    413: "the body is too large",
    429: "too many requests wait",
    500: "the tile has failed",
}
"""Statuses of errors, and what they mean."""


def description(program: Program, model: str) -> dict:
    """The description of the API of a server that serves a program under the name `model`."""
    chat = _request(
        {"model": {"enum": [model]}, "messages": {"type": "array", "minItems": 1, "items": _message()}},
        {
            "max_completion_tokens": _whole(1),
            "logprobs": FLAG,
            "top_logprobs": _whole(0, MOST_TOP_CHAT),
            "response_format": {"const": {"type": "text"}},
            "tool_choice": {"enum": ["none", "auto"]},
            "functions": {"const": []},
        },
    )
    token = {"type": "integer", "minimum": 0, "maximum": program.model.shape.vocab_size - 1}
    tokens = {"type": "array", "items": token, "minItems": 1}
    one = {"type": "array", "minItems": 1, "maxItems": 1}
    prompt = {"anyOf": [TEXT, tokens, one | {"items": TEXT}, one | {"items": tokens}]}
    completion = _request(
        {"model": {"enum": [model]}, "prompt": prompt},
        {
            "logprobs": _whole(0, MOST_TOP_TEXT),
            "echo": FLAG,
            "best_of": {"const": 1},
            "suffix": {"const": ""},
        },
    )
    position = {"type": "string", "pattern": "^[0-9]{1,9}$"}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Marey",
            "version": "1",
            "description": "OpenAI's API in front of a tile, with the cycles of each "
            "answer before its first token.",
        },
        "paths": {
            "/v1/chat/completions": {"post": _asks("An answer in a conversation", "ChatRequest", "Chat")},
            "/v1/completions": {"post": _asks("The end of a text", "CompletionRequest", "Completion")},
            "/v1/models": {"get": _gives("The model that is served", "Models")},
            "/v1/models/{model}": {
                "get": _gives("The same, by its name", "Model")
                | {"parameters": [{"name": "model", "in": "path", "required": True, "schema": TEXT}]}
            },
            "/metrics": {"get": _gives("Counters for Prometheus", None, "text/plain")},
            "/health": {"get": _gives("Whether it answers", "Health")},
            "/openapi.json": {"get": _gives("This description", "Description")},
            "/": {"get": _gives("The live page", None, "text/html")},
            "/timetable": {
                "get": _gives("The timetable of the token at a position", None, "text/html")
                | {"parameters": [{"name": "position", "in": "query", "required": True, "schema": position}]}
            },
            "/speeds": {"get": _gives("Tokens a second on each board", "Speeds")},
        },
        "components": {
            "schemas": {"ChatRequest": chat, "CompletionRequest": completion, **_answers(model)},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _object(required: dict, optional: dict | None = None) -> dict:
    return {"type": "object", "required": [*required], "properties": required | (optional or {})}


def _or_null(schema: dict) -> dict:
    return {"anyOf": [schema, {"type": "null"}]}


def _whole(least: int, most: int = LONGEST) -> dict:
    return {"type": "integer", "minimum": least, "maximum": most}


def _number(least: float, most: float) -> dict:
    return {"type": "number", "minimum": least, "maximum": most}


def _request(required: dict, optional: dict) -> dict:
    """A request: fields that it needs, its own fields, and those that all have. Null is as if it were
    left out; unknown fields are not looked at."""
    stop = {"type": "string", "minLength": 1}
    common = {
        "max_tokens": _whole(1),
        "temperature": _number(0, 2),
        "top_p": _number(0, 1),
        "top_k": _whole(0),
        "min_p": _number(0, 1),
        "repeat_penalty": _number(1, 10),
        "seed": _whole(-LONGEST - 1),
        "stop": {"anyOf": [stop, {"type": "array", "items": stop, "maxItems": MOST_STOPS}]},
        "n": {"const": 1},
        "stream": FLAG,
        "stream_options": _object({}, {"include_usage": _or_null(FLAG)}),
        "frequency_penalty": {"const": 0},
        "presence_penalty": {"const": 0},
        "logit_bias": {"const": {}},
    }
    return _object(required, {name: _or_null(schema) for name, schema in (common | optional).items()})


def _message() -> dict:
    part = _object({"type": {"const": "text"}, "text": TEXT})
    content = {"anyOf": [TEXT, {"type": "array", "items": part}]}
    others = [role for role in ROLES if role != "assistant"]
    return {
        "anyOf": [
            _object({"role": {"enum": others}, "content": content}),
            _object({"role": {"const": "assistant"}}, {"content": _or_null(content)}),
        ]
    }


def _answers(model: str) -> dict:
    """The objects of answers, by name."""
    cycles = {"type": "array", "items": COUNT}
    promised = _object(
        {
            "prompt_tokens": COUNT,
            "known_tokens": COUNT,
            "prompt_cycles": COUNT,
            "token_cycles": cycles,
            "deadline_cycles": COUNT,
            "deadline_seconds": {"type": "number"},
            "clock_hz": {"type": "number"},
            "clock_of": TEXT,
        }
    )
    measured = _object(
        {"prompt_cycles": COUNT, "token_cycles": cycles, "cycles": COUNT, "seconds": {"type": "number"}}
    )
    marey = _object(
        {"promised": promised, "measured": measured, "ended_by": TEXT, "seed": {"type": "integer"}}
    )
    usage = _object({"prompt_tokens": COUNT, "completion_tokens": COUNT, "total_tokens": COUNT})
    finish = {"enum": ["stop", "length"]}

    def answer(kind, choice):
        choices = {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": _object({"index": {"const": 0}, **choice}),
        }
        return _object(
            {
                "id": TEXT,
                "object": {"const": kind},
                "created": COUNT,
                "model": {"const": model},
                "system_fingerprint": TEXT,
                "choices": choices,
                "usage": usage,
                "marey": marey,
            }
        )

    logprobs = _or_null({"type": "object"})
    message = _object({"role": {"const": "assistant"}, "content": TEXT, "refusal": {"type": "null"}})
    about = _object(
        {
            "id": {"const": model},
            "object": {"const": "model"},
            "created": COUNT,
            "owned_by": TEXT,
            "marey": {"type": "object"},
        }
    )
    error = _object({"message": TEXT, "type": TEXT, "param": _or_null(TEXT), "code": _or_null(TEXT)})
    return {
        "Chat": answer(
            "chat.completion", {"message": message, "logprobs": logprobs, "finish_reason": finish}
        ),
        "Completion": answer(
            "text_completion", {"text": TEXT, "logprobs": logprobs, "finish_reason": finish}
        ),
        "Model": about,
        "Models": _object({"object": {"const": "list"}, "data": {"type": "array", "items": about}}),
        "Health": _object({"status": {"const": "ok"}}),
        "Speeds": {"type": "array", "items": {"type": "object"}},
        "Description": {"type": "object"},
        "Error": _object({"error": error}),
    }


def _content(name: str | None, media_type: str = "application/json") -> dict:
    return {media_type: {"schema": {"$ref": f"#/components/schemas/{name}"} if name else TEXT}}


def _gives(summary: str, name: str | None, media_type: str = "application/json") -> dict:
    refusals = {
        str(status): {"description": what, "content": _content("Error")} for status, what in REFUSALS.items()
    }
    return {
        "summary": summary,
        "responses": {"200": {"description": summary, "content": _content(name, media_type)}, **refusals},
    }


def _asks(summary: str, request: str, answer: str) -> dict:
    made = _gives(summary, answer)
    made["responses"]["200"]["content"]["text/event-stream"] = {"schema": TEXT}
    return made | {"requestBody": {"required": True, "content": _content(request)}}
