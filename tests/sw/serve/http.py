"""Requests as tests send them: whole answers, streams, and bytes on a bare connection."""

import http.client
import json
import socket
from contextlib import contextmanager
from dataclasses import dataclass

WAIT_S = 30
CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"


@dataclass(frozen=True)
class Answer:
    """What a server has answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def chunks(self):
        """The objects of a stream; it must end as OpenAI's do, and consist of `data:` events alone."""
        *events, done, rest = self.body.decode().split("\n\n")
        assert done == "data: [DONE]" and rest == ""
        return [json.loads(event.removeprefix("data: ")) for event in events if event.startswith("data: ") or 1 / 0]


def ask(server, path, body=None, headers=None, method=None) -> Answer:
    """Sends a request; a body that is not bytes is sent as JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_S)
    try:
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        connection.request(method or ("GET" if body is None else "POST"), path, body,
                           {"content-type": "application/json", **(headers or {})})
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


@contextmanager
def connected(server):
    """A bare connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S) as connection:
        yield connection


def raw(path, body: dict) -> bytes:
    """The bytes of a request."""
    content = json.dumps(body).encode()
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


def until_closed(connection) -> bytes:
    """All bytes that come on a connection until the server closes it."""
    parts = []
    try:
        while part := connection.recv(1 << 16):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)
