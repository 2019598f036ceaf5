"""What stands before all paths: who may ask, and that no request ends in a traceback."""

import hmac
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect, Request

from ...sim.progress import say
from .errors import ApiError
from .metrics import Metrics

OPEN = ("/", "/health")
"""Paths that need no key: they say nothing that is not in every copy of Marey. The page asks for the key."""


class Guard:
    """An ASGI application around another one.

    `hosts`: names by which the server may be called; None allows all. It keeps pages of other sites away from a server
    that listens on this machine only: their names may be made to stand for its address. `api_key`: the bearer token that
    requests must have; None allows any or none.
    """

    def __init__(self, app, metrics: Metrics, hosts: frozenset[str] | None, api_key: str | None):
        self._app, self._metrics, self._hosts, self._api_key = app, metrics, hosts, api_key

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = [0]

        async def counted(message):
            if message["type"] == "http.response.start":
                status[0] = message["status"]
            await send(message)

        try:
            self._check(Request(scope))
            await self._app(scope, receive, counted)
        except ApiError as error:
            await error.response()(scope, receive, counted)
        except ClientDisconnect:
            pass
        except Exception as error:
            say(f"marey: internal error at {scope['path'][:100]!r}: {type(error).__name__}: {error}")
            if not status[0]:
                await ApiError("internal error", 500).response()(scope, receive, counted)
        finally:
            known = scope.get("route")
            self._metrics.responses.labels(known.path if known else "other", status[0]).inc()

    def _check(self, request: Request) -> None:
        """ApiError for a request that may not ask."""
        origin = request.headers.get("origin")
        for name in (request.headers.get("host"), origin and urlsplit(origin).netloc):
            if self._hosts is not None and name is not None and _host(name) not in self._hosts:
                raise ApiError(f"this server does not answer to the name {_host(name)[:100]!r}", 403, code="wrong_host")
        if self._api_key is None or (request.url.path in OPEN and request.method == "GET"):
            return
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(token.strip().encode(), self._api_key.encode())
        if scheme.lower() != "bearer" or not same:
            raise ApiError("the API key is missing or wrong: send it as the header Authorization: Bearer KEY", 401,
                           code="invalid_api_key")


def _host(name: str) -> str:
    """The host in HOST or HOST:PORT, without the brackets of an IPv6 address."""
    try:
        return (urlsplit(f"//{name}").hostname or "").lower()
    except ValueError:
        return ""
