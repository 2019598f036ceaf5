"""The server and its own description in OpenAPI say the same: requests that are drawn from it are
answered as it says, and what it forbids is refused."""

import os
import threading
import time
from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from marey.sw.serve import guard
from marey.sw.serve.openapi import REFUSALS, description
from tests.sw.serve.drawn import ANYTHING, of_schema, with_unknown_fields
from tests.sw.serve.http import CHAT, TEXT, Answer, ask
from tests.sw.serve.servers import MODEL, known

DESCRIBED = description(known().program, MODEL)
SCHEMAS = DESCRIBED["components"]["schemas"]
REQUESTS = {path: SCHEMAS[name] for path, name in ((CHAT, "ChatRequest"), (TEXT, "CompletionRequest"))}
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]
ALSO_REFUSED = {"context_length_exceeded", "unsupported_parameter"}
"""Codes of refusals that a schema cannot say: a long prompt; log-probabilities of a text that is echoed."""


@pytest.fixture(autouse=True)
def silence(monkeypatch):
    """No request may end in an internal error, which the server would tell."""
    told = []
    monkeypatch.setattr(guard, "say", told.append)
    yield
    assert not told


def validator(name):
    return Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": DESCRIBED["components"]}
    )


def check_answer(path: str, method: str, answer: Answer) -> None:
    """An answer is one that the description has for the path."""
    kind = answer.headers.get("content-type", "").partition(";")[0]
    known = (
        DESCRIBED["paths"]
        .get(path, {})
        .get("get" if method == "HEAD" else method.lower(), {"responses": {}})["responses"]
    )
    if answer.status == 200:
        schema = known["200"]["content"][kind]["schema"]
        if method == "HEAD":
            assert answer.body == b""
        elif "$ref" in schema:
            validator(schema["$ref"].rpartition("/")[2]).validate(answer.json)
        elif kind == "text/event-stream":
            assert answer.chunks[-1]["model"] == MODEL
    else:
        assert answer.status in REFUSALS and answer.status != 500 and kind == "application/json"
        if method != "HEAD":
            validator("Error").validate(answer.json)
            assert len(answer.json["error"]["message"].splitlines()) == 1


def check_legal(server, path, body):
    body = body | {
        name: min(body.get(name) or 2, 2) for name in ("max_tokens", "max_completion_tokens")
    }  # to be quick
    answer = ask(server, path, body)
    check_answer(path, "POST", answer)
    if answer.status != 200:
        error = answer.json["error"]
        assert error["code"] in ALSO_REFUSED or error["param"] == "top_logprobs", (body, error)


def check_illegal(server, path, body, field, value):
    """A request, one of whose fields has a value that may be illegal."""
    body = deepcopy(body) | {field: value}
    if Draft202012Validator(REQUESTS[path]).is_valid(body):
        return
    answer = ask(server, path, body)
    check_answer(path, "POST", answer)
    assert answer.status in (400, 404), (body, answer)


BODIES = {
    path: with_unknown_fields(of_schema(schema), schema["properties"]) for path, schema in REQUESTS.items()
}
LEGAL = st.sampled_from(sorted(REQUESTS)).flatmap(lambda path: st.tuples(st.just(path), BODIES[path]))
WRONG = LEGAL.flatmap(
    lambda drawn: st.tuples(
        st.just(drawn[0]),
        st.just(drawn[1]),
        st.sampled_from(sorted(REQUESTS[drawn[0]]["properties"])),
        ANYTHING,
    )
)
PATHS = st.sampled_from(sorted(DESCRIBED["paths"])) | st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="?#"), max_size=20
).map("/{}".format)


@settings(max_examples=30, deadline=None)
@given(LEGAL)
def test_what_the_description_allows_is_answered(server, drawn):
    check_legal(server, *drawn)


@settings(max_examples=60, deadline=None)
@given(WRONG)
def test_what_the_description_forbids_is_refused(server, drawn):
    check_illegal(server, *drawn)


@settings(max_examples=60, deadline=None)
@given(
    path=PATHS,
    method=st.sampled_from(METHODS),
    query=st.binary(max_size=8),
    body=st.binary(max_size=8) | st.none(),
)
def test_every_path_answers_every_method(server, path, method, query, body):
    where = path.replace("{model}", MODEL) + (
        "?" + "".join(f"%{byte:02x}" for byte in query) if query else ""
    )
    answer = ask(server, where, body, method=method)
    check_answer(path, method, answer)


def test_the_description_is_the_servers_own(server):
    answer = ask(server, "/openapi.json")
    assert answer.json == DESCRIBED
    paths = {path: method for path, methods in DESCRIBED["paths"].items() for method in methods}
    for path, method in paths.items():
        answer = ask(
            server,
            path.replace("{model}", MODEL) + "?position=3",
            {} if method == "post" else None,
            method=method.upper(),
        )
        check_answer(path, method, answer)
        assert answer.status == (400 if method == "post" else 200)


@pytest.mark.parametrize("name", ["temperature", "seed", "max_tokens", "top_logprobs", "top_k"])
def test_numbers_without_bounds(server, name):
    """Whole numbers of hundreds of digits fit no float."""
    for number in (10**400, -(10**400)):
        check_illegal(
            server, CHAT, {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}, name, number
        )


def resources():
    """(open files, threads, resident KB) of this process."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count(), resident


@pytest.mark.slow
def test_thousands_of_requests_leave_nothing_behind(server):
    """The same requests three times over: Hypothesis, which is in this process, takes no memory then."""
    drawn, taken = [], []

    @settings(max_examples=400, deadline=None, database=None)
    @given(LEGAL, WRONG)
    def draw(legal, wrong):
        drawn.append((legal, wrong))

    draw()
    for _ in range(3):
        for legal, wrong in drawn:
            check_legal(server, *legal)
            check_illegal(server, *wrong)
        time.sleep(1)
        taken.append(resources())
    print(f"{2 * len(drawn)} requests a round; open files, threads, resident KB after each: {taken}")
    (_, before, after) = taken
    assert after[0] <= before[0] + 2 and after[1] <= before[1] + 1 and after[2] < before[2] + 4000
    told = dict(
        line.split()
        for line in ask(server, "/metrics").body.decode().splitlines()
        if "{" not in line and line[0] != "#"
    )
    assert float(told["marey_waiting_requests"]) == float(told["marey_busy_tiles"]) == 0
    assert ask(server, "/health").json == {"status": "ok"}
