"""The live page: a chat, and beside it the tile at work."""

import asyncio
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..program.program import Program
from ..views import page as timetable
from .errors import ApiError, json_response

WEB = Path(__file__).with_name("web")
SCRIPTS = ("stream", "tile", "jitter", "live")
"""The page's scripts, in the order in which they run: all share one scope."""
POLICY = ("default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-src 'self'; "
          "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
"""Content-Security-Policy: the page needs nothing but itself and this server."""
HEADERS = {"content-security-policy": POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
KEPT = 64
"""Timetables of blocks of positions that are kept; one takes some 80 KB."""

Speeds = Callable[[], list[dict]]
"""Speeds of the model elsewhere: rows of `marey.sw.views.fit.fit`."""


def html() -> str:
    """The live page."""
    style = timetable.WEB.joinpath("page.css").read_text(encoding="utf-8") + _web("live.css")
    return timetable.filled(_web("live.html"), {"STYLE": style, "SCRIPT": "".join(_web(f"{name}.js") for name in SCRIPTS)})


def _web(name: str) -> str:
    return (WEB / name).read_text(encoding="utf-8")


def routes(program: Program, speeds: Speeds) -> list[Route]:
    """The paths of the page: `/`, `/timetable?position=N` and `/speeds`."""
    content, drawing, reckoning = html(), asyncio.Lock(), asyncio.Lock()

    @lru_cache(KEPT)
    def of_block(block: int) -> str:
        return timetable.page(program, block * program.config.block)

    found: list[list[dict]] = []

    async def page(request: Request) -> Response:
        return Response(content, 200, HEADERS, "text/html")

    async def token(request: Request) -> Response:
        asked = request.query_params.get("position", "")
        if not (asked.isascii() and asked.isdigit() and len(asked) < 10 and int(asked) < program.model.context):
            raise ApiError(f"position must be a whole number from 0 to {program.model.context - 1}", param="position")
        async with drawing:  # one at a time: they take the processor from the tiles
            drawn = await asyncio.to_thread(of_block, int(asked) // program.config.block)
        return Response(drawn, 200, HEADERS, "text/html")

    async def elsewhere(request: Request) -> Response:
        async with reckoning:
            if not found:
                found.append(await asyncio.to_thread(speeds))
        return json_response([{key: row[key] for key in ("name", "config", "mode", "clock_mhz", "tokens_per_second")}
                              for row in found[0] if row["clock_mhz"]])

    return [Route("/", page), Route("/timetable", token), Route("/speeds", elsewhere)]
