"""A response of server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

from starlette.requests import ClientDisconnect
from starlette.responses import Response

SEND_S = 60
"""Seconds that a client may take to read before it counts as gone."""


def event(data: str) -> bytes:
    """One event with data without line breaks."""
    return f"data: {data}\n\n".encode()


class Events(Response):
    """Sends events as they come. When the client has left, or reads nothing for `SEND_S` seconds, `leave` is called, which
    must end the events."""

    def __init__(self, events: AsyncIterator[bytes], headers: dict[str, str], leave: Callable[[], None]):
        super().__init__(None, 200, {"cache-control": "no-cache", **headers}, "text/event-stream")
        self._events, self._leave = events, leave
        del self.headers["content-length"]

    async def __call__(self, scope, receive, send):
        async def watch():
            while (await receive())["type"] != "http.disconnect":
                pass
            self._leave()

        async def sent(message):
            async with asyncio.timeout(SEND_S):
                await send(message)

        watching = asyncio.create_task(watch())
        try:
            async with aclosing(self._events):
                await sent({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                async for part in self._events:
                    await sent({"type": "http.response.body", "body": part, "more_body": True})
                await sent({"type": "http.response.body", "body": b"", "more_body": False})
        except (ClientDisconnect, TimeoutError):
            self._leave()
        except BaseException:
            self._leave()
            raise
        finally:
            watching.cancel()
