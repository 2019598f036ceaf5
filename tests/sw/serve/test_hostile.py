"""Hostile input: every request gets an answer in OpenAI's shape, in time, without a traceback."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.sw.serve import app
from marey.sw.serve import server as serving
from marey.sw.serve.asked import Asker
from marey.sw.serve.body import Body
from marey.sw.serve.errors import ApiError
from tests.sw.serve.http import CHAT, TEXT, ask, connected, raw, until_closed
from tests.sw.serve.servers import MODEL, TEMPLATE

GOOD = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
FIELDS = ("model messages prompt max_tokens max_completion_tokens temperature top_p n stop stream stream_options logprobs "
          "top_logprobs seed user echo best_of suffix response_format tool_choice top_k min_p repeat_penalty "
          "frequency_penalty presence_penalty logit_bias unknown").split()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([MODEL, "user", "text"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.text(max_size=3) | st.sampled_from(["role", "content", "type", "text", "include_usage"]), inner, max_size=3),
    max_leaves=8)


def check_refusal(answer, status=400):
    """An error of one line in the documented shape."""
    assert answer.status == status, answer
    error = answer.json["error"]
    assert set(error) == {"message", "type", "param", "code"} and len(error["message"].splitlines()) == 1
    assert "Traceback" not in error["message"]


@settings(max_examples=80)
@given(fields=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6), good=st.booleans())
def test_any_fields_are_asked_or_refused(program, fields, good):
    """Whatever the fields are, the request is a legal job, or is refused for a reason; nothing else happens."""
    asker = Asker(program.program, MODEL, TEMPLATE)
    for ask_for, base in ((asker.chat, GOOD), (asker.completion, {"model": MODEL, "prompt": "on"})):
        try:
            asked = ask_for(Body(json.dumps(base | fields if good else fields).encode()))
        except ApiError as error:
            assert 400 <= error.status < 500 and len(str(error).splitlines()) == 1
            error.response()
        else:
            context = program.program.model.context
            assert 0 < len(asked.job.tokens) < context and 0 < asked.job.steps <= context - len(asked.job.tokens) + 1


@settings(max_examples=100)
@given(st.binary(max_size=40) | st.text(max_size=20).map(str.encode))
def test_any_bytes_are_refused(content):
    try:
        Body(content)
    except ApiError as error:
        assert error.status == 400 and len(str(error).splitlines()) == 1


@pytest.mark.parametrize("content", [
    b"", b"{", b"[]", b"null", b"3", b'"x"', b"\xff\xfe", b'{"model": "\xc3("}', b"{" * 100_000, b"[" * 100_000,
    b'{"n": ' + b"9" * 10_000 + b"}", b'{"temperature": NaN}', b'{"temperature": Infinity}', b'{"a": 1e999}',
    json.dumps(GOOD | {"messages": [{"role": "user", "content": "\ud800"}]}).encode(),
    json.dumps(GOOD | {"model": "\udfff"}).encode(), json.dumps(GOOD | {"temperature": 1e400}).encode(),
    json.dumps(GOOD | {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}).encode(),
], ids=range(18))
def test_wrong_bodies(server, content):
    answer = ask(server, CHAT, content)
    check_refusal(answer, answer.status)
    assert answer.status in (400, 404)


def test_wrong_paths_and_methods(server):
    check_refusal(ask(server, "/v1/nothing"), 404)
    check_refusal(ask(server, "/v1/models/other"), 404)
    check_refusal(ask(server, "/v1/models/%00%ff"), 404)
    check_refusal(ask(server, CHAT), 405)
    check_refusal(ask(server, "/v1/models", GOOD), 405)
    check_refusal(ask(server, "/" + "x" * 5000), 404)


def test_other_names_are_not_answered(server):
    """A page of another site, whose name may have been made to stand for this machine, cannot ask."""
    for headers in ({"host": "evil.example"}, {"host": "evil.example:80"}, {"origin": "http://evil.example"},
                    {"origin": "null"}, {"host": "["}):
        check_refusal(ask(server, CHAT, GOOD, headers), 403)
    for headers in ({"host": f"127.0.0.1:{server.port}"}, {"host": "LOCALHOST"}, {"host": "[::1]:8000"},
                    {"origin": server.url}):
        assert ask(server, "/v1/models", headers=headers).status == 200


def test_bodies_that_are_too_large(server, monkeypatch):
    large = json.dumps(GOOD | {"user": "x" * (1 << 20)}).encode()
    check_refusal(ask(server, CHAT, large), 413)
    with connected(server) as connection:  # in chunks, whose sum nobody has said
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(40):
            connection.sendall(b"8000\r\n" + b" " * 0x8000 + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        assert b" 413 " in until_closed(connection)


def test_slow_clients_are_let_go(server, monkeypatch):
    """Neither headers nor a body that never end hold a connection for good, and others are answered meanwhile."""
    monkeypatch.setattr(app, "BODY_S", 0.4)
    monkeypatch.setattr(serving, "HEADER_S", 0.4)
    for part, word in ((b"", b""), (b"POST /v1/comp", b""), (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", b""),
                       (raw(CHAT, GOOD)[:-3], b" 408 ")):
        with connected(server) as connection:
            connection.sendall(part)
            begun = time.monotonic()
            assert ask(server, "/health").status == 200
            assert word in until_closed(connection) and time.monotonic() - begun < 10


def test_what_is_no_http(server):
    for content in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"A: " + b"b" * 100_000):
        with connected(server) as connection:
            connection.sendall(content)
            connection.shutdown(1)
            assert b"Traceback" not in until_closed(connection)
    assert ask(server, TEXT, {"model": MODEL, "prompt": [5], "max_tokens": 1}).status == 200
