"""The paths of the API."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from ..program.program import Program
from ..runtime.generate import INTERRUPTED, STEPS
from ..text.chat import ChatTemplate
from .asked import Asked, Asker, check_model
from .body import Body
from .errors import ApiError, json_response
from .events import Events, event
from .job import Begun, Ended, Failed, Piece
from .metrics import Metrics
from .openapi import description
from .pool import Answer, Pool
from .promise import Clock, Promise, measured, promise
from .shapes import Chat, Completion, Shape, usage

BODY_S = 30
"""Seconds in which the body of a request must have come."""
DRAINED_BYTES = 1 << 24
"""Bytes of a body that is too large that are read all the same: a client reads no answer before it has sent its body."""


@dataclass
class Service:
    """What the paths share: the program, its name for clients, the pool of tiles, the clock of promises, and limits."""

    program: Program
    model: str
    template: ChatTemplate | None
    pool: Pool
    metrics: Metrics
    clock: Clock
    most_body_bytes: int
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self):
        self.asker = Asker(self.program, self.model, self.template)
        self.fingerprint = f"marey-{self.program.config.hash:08x}"


@dataclass
class Made:
    """An answer so far: its text, the steps of the tile, and the log-probabilities of its tokens."""

    asked: Asked
    text: str = ""
    tokens: int = 0
    steps: list = field(default_factory=list)
    logprobs: list = field(default_factory=list)
    ended_by: str = STEPS

    def add(self, piece: Piece) -> None:
        """Adds what a run of the tile has made."""
        self.text += piece.text
        self.tokens += piece.token is not None
        self.steps += [piece.step] if piece.step else []
        self.logprobs += [piece.logprobs] if piece.logprobs else []


def application(service: Service, *routes: Route) -> Starlette:
    """The application; `routes`: more paths than those of the API."""
    def path(where, answer, method="GET"):
        return Route(where, answer, methods=[method])

    async def models(request: Request) -> Response:
        return json_response({"object": "list", "data": [_about(service)]})

    async def one_model(request: Request) -> Response:
        check_model(request.path_params["model"], service.model)
        return json_response(_about(service))

    async def chat(request: Request) -> Response:
        return await _answer(service, request, service.asker.chat, Chat)

    async def completion(request: Request) -> Response:
        return await _answer(service, request, service.asker.completion, Completion)

    described = description(service.program, service.model)

    async def about_itself(request: Request) -> Response:
        return json_response(described)

    async def metrics(request: Request) -> Response:
        return Response(service.metrics.text(), media_type=service.metrics.content_type)

    async def health(request: Request) -> Response:
        return json_response({"status": "ok"})

    return Starlette(
        routes=[path("/v1/models", models), path("/v1/models/{model:path}", one_model), path("/metrics", metrics),
                path("/health", health), path("/openapi.json", about_itself),
                path("/v1/chat/completions", chat, "POST"),
                path("/v1/completions", completion, "POST"), *routes],
        exception_handlers={ApiError: _refused, HTTPException: _no_path, ClientDisconnect: _gone})


async def _refused(request: Request, error: ApiError) -> Response:
    return error.response()


async def _no_path(request: Request, error: HTTPException) -> Response:
    where = request.url.path[:100]
    what = {404: f"there is nothing at {where}", 405: f"{where} does not take {request.method[:20]}"}
    return ApiError(what.get(error.status_code, error.detail), error.status_code).response()


async def _gone(request: Request, error: ClientDisconnect) -> Response:
    return Response(status_code=400)  # which nobody reads


def _about(service: Service) -> dict:
    """A model in the list of models; `marey` has what is to be known of the tile."""
    program = service.program
    constant, slope, least = program.formula()
    return {"id": service.model, "object": "model", "created": service.created, "owned_by": "marey", "marey": {
        "config": program.config.name, "mode": program.mode, "context": program.model.context, "tiles": len(service.pool.tiles),
        "chat": service.template is not None, "clock_hz": service.clock.hz, "clock_of": service.clock.of,
        "token_cycles": {"constant": constant, "per_block": slope, "from_blocks": least, "block": program.config.block}}}


async def _answer(service: Service, request: Request, ask: Callable[[Body], Asked], shape_of: type[Shape]) -> Response:
    """Answers a request for text."""
    content = await _body(request, service.most_body_bytes)
    asked = await asyncio.to_thread(lambda: ask(Body(content)))
    answer = service.pool.submit(_client(request), asked.job)
    async with _watched(request, answer):
        promised = await _begun(service, answer)
        shape = shape_of(asked, service.model, service.fingerprint)
        if asked.stream:
            # The response reads on after this function has ended, and watches the client itself.
            return Events(_chunks(service, asked, answer, shape, promised), promised.headers(), answer.leave)
        made = Made(asked)
        async for _ in _pieces(answer, made):
            pass
    marey = {"promised": promised.as_json(), **_measured(service, made)}
    tokens = usage(len(asked.job.tokens), made.tokens, promised.known_count)
    return json_response(shape.whole(made.text, made.logprobs, made.ended_by, tokens, marey), 200, promised.headers())


async def _body(request: Request, most_bytes: int) -> bytes:
    """The body of a request. ApiError if it is too large, or does not come."""
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                size += len(part)
                if size > DRAINED_BYTES:
                    break
                if size <= most_bytes:
                    parts.append(part)
    except TimeoutError:
        raise ApiError(f"the body has not come within {BODY_S} seconds", 408) from None
    if size > most_bytes:
        raise ApiError(f"the body has more than {most_bytes:,} bytes", 413, code="request_too_large")
    return b"".join(parts)


def _client(request: Request) -> str:
    """Whom a request belongs to, for the queue: an address, and a token if there is one."""
    return f"{request.client.host if request.client else ''} {request.headers.get('authorization', '')}"


@asynccontextmanager
async def _watched(request: Request, answer: Answer) -> AsyncIterator[None]:
    """Within it, a client that leaves frees the tile: then ClientDisconnect."""
    async def watch():
        while (await request.receive())["type"] != "http.disconnect":
            pass
        answer.leave()

    task = asyncio.create_task(watch())
    try:
        yield
    except BaseException:
        answer.leave()
        raise
    finally:
        task.cancel()
    if answer.left:
        raise ClientDisconnect


async def _begun(service: Service, answer: Answer) -> Promise:
    """What an answer will take, as soon as its tile begins."""
    async for happened in answer:
        if isinstance(happened, Begun):
            return promise(service.program, answer.job, happened.known_count, service.clock)
        raise ApiError(f"the tile has failed: {happened.message}", 500)
    raise ClientDisconnect


async def _pieces(answer: Answer, made: Made) -> AsyncIterator[Piece]:
    """The pieces of an answer that has begun, after they are in `made`. ApiError if the tile fails, ClientDisconnect if the
    client leaves."""
    async for happened in answer:
        match happened:
            case Piece():
                made.add(happened)
                yield happened
            case Ended():
                made.ended_by = happened.ended_by
            case Failed():
                raise ApiError(f"the tile has failed: {happened.message}", 500)
    if answer.left:
        made.ended_by = INTERRUPTED
        raise ClientDisconnect


async def _chunks(service: Service, asked: Asked, answer: Answer, shape: Shape, promised: Promise) -> AsyncIterator[bytes]:
    """The events of a stream. After an error in the midst of it, an object of that error, and no [DONE]."""
    made, waiting = Made(asked), Made(asked)
    for chunk in shape.first({"promised": promised.as_json()}):
        yield event(json.dumps(chunk))
    try:
        async for piece in _pieces(answer, made):
            waiting.add(piece)
            if waiting.text:
                cycles = [step.measured_cycles for step in waiting.steps if step.position >= len(asked.job.tokens) - 1]
                yield event(json.dumps(shape.piece(waiting.text, waiting.logprobs, {"token_cycles": cycles})))
                waiting = Made(asked)
    except ApiError as error:
        yield event(json.dumps(error.as_json()))
        return
    if waiting.logprobs and asked.top is not None:
        yield event(json.dumps(shape.piece("", waiting.logprobs, {"token_cycles": []})))
    yield event(json.dumps(shape.last(made.ended_by, _measured(service, made))))
    if asked.include_usage:
        yield event(json.dumps(shape.usage(usage(len(asked.job.tokens), made.tokens, promised.known_count))))
    yield event("[DONE]")


def _measured(service: Service, made: Made) -> dict:
    """The part of the object `marey` that is known after the last token."""
    return {"measured": measured(made.asked.job, made.steps, service.clock), "ended_by": made.ended_by, "seed": made.asked.seed}
