"""Who is answered when: clients take turns, one that leaves frees its tile, too many are refused, tiles that fail come back."""

import json
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marey.sw.serve.fair import FairQueue
from tests.sw.serve.http import CHAT, TEXT, ask, connected, raw, until_closed
from tests.sw.serve.openers import Emulated
from tests.sw.serve.servers import MODEL, Running

LONG = {"model": MODEL, "prompt": [5], "temperature": 0, "max_tokens": 30}
SHORT = LONG | {"max_tokens": 1}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=30))
def test_clients_take_turns(steps):
    """Between two turns of a client, each that waited at the first one has a turn; a client's items keep their order."""
    queue, waiting, due = FairQueue(), {name: [] for name in "abc"}, {name: set() for name in "abc"}
    for number, (client, take) in enumerate(steps):
        queue.put(client, number)
        waiting[client].append(number)
        if take:
            item = queue.take()
            owner = next(name for name, items in waiting.items() if item in items)
            assert waiting[owner].pop(0) == item and not due[owner]
            due = {name: others - {owner} for name, others in due.items()}
            due[owner] = {name for name, items in waiting.items() if items and name != owner}
    assert len(queue) == sum(map(len, waiting.values()))
    assert all(queue.remove(name, item) for name, items in waiting.items() for item in items)
    assert len(queue) == 0 and not queue.remove("a", 0)


def test_one_that_asks_much_waits_for_the_others():
    queue = FairQueue()
    for client, item in (("much", 1), ("much", 2), ("much", 3), ("little", 4), ("less", 5), ("little", 6)):
        queue.put(client, item)
    assert [queue.take() for _ in range(6)] == [1, 4, 5, 2, 6, 3]


def busy(server):
    """The value of the gauge of tiles at work."""
    lines = ask(server, "/metrics").body.decode().splitlines()
    return {line.split(" ")[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}


def until(condition):
    """Waits until a condition holds."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_the_tile(slow_server, stream):
    """A long answer would take 1.5 s and more; whoever comes next does not wait for it. One that leaves the queue is
    never run."""
    before = busy(slow_server)
    with connected(slow_server) as leaving, connected(slow_server) as waiting:
        leaving.sendall(raw(TEXT, LONG | {"stream": stream}))
        until(lambda: busy(slow_server)["marey_busy_tiles"] == 1)
        waiting.sendall(raw(TEXT, LONG | {"prompt": [6]}))
        until(lambda: busy(slow_server)["marey_waiting_requests"] == 1)
        if stream:
            assert b"200 OK" in leaving.recv(1 << 16)
    assert ask(slow_server, TEXT, SHORT).status == 200
    until(lambda: busy(slow_server)["marey_busy_tiles"] == 0)
    after = busy(slow_server)
    assert after["marey_clients_left_total"] == before["marey_clients_left_total"] + 2
    assert after["marey_tokens_total"] - before["marey_tokens_total"] < 20


def test_too_many_are_refused_and_all_others_answered(slow_server):
    statuses = []
    threads = [threading.Thread(target=lambda: statuses.append(ask(slow_server, TEXT, LONG | {"max_tokens": 2}).status))
               for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * 5 + [429] * 3  # one runs, four wait
    assert busy(slow_server)["marey_waiting_requests"] == 0


def test_a_tile_that_fails_comes_back(tmp_path):
    """A run of other cycles than predicted, and a process that dies, end the answer with an error, and the next is right."""
    with Running(tmp_path, Emulated(deadly=7, wrong=8), tile_count=2) as server:
        good = ask(server, TEXT, SHORT)
        for token, word in ((7, "the process of the tile has ended"), (8, "predicted 5 cycles, measured 6")):
            failed = ask(server, TEXT, SHORT | {"prompt": [5, token]})
            assert failed.status == 500 and word in failed.json["error"]["message"]
            assert failed.json["error"]["type"] == "server_error"
        streamed = ask(server, TEXT, SHORT | {"prompt": [5, 8], "stream": True})
        error = json.loads(streamed.body.decode().split("\n\n")[-2].removeprefix("data: "))["error"]
        assert error["type"] == "server_error" and b"[DONE]" not in streamed.body
        assert ask(server, TEXT, SHORT).json["choices"] == good.json["choices"]
        until(lambda: busy(server)["marey_ready_tiles"] == 2)


@pytest.mark.slow
def test_two_tiles_answer_at_the_same_time(tmp_path):
    """And a prompt goes to the tile that knows it."""
    with Running(tmp_path, Emulated(0.02), tile_count=2) as server:
        with connected(server) as one, connected(server) as two:
            for connection, prompt in ((one, [5, 6, 7]), (two, [9, 8, 7])):
                request = raw(TEXT, LONG | {"prompt": prompt, "max_tokens": 6})
                connection.sendall(request.replace(b"Host:", b"Connection: close\r\nHost:"))
            until(lambda: busy(server)["marey_busy_tiles"] == 2)
            assert all(b'"text_completion"' in until_closed(connection) for connection in (one, two))
        for prompt in ([5, 6, 7], [9, 8, 7], [5, 6, 7]):
            found = ask(server, TEXT, SHORT | {"prompt": prompt}).json
            assert found["marey"]["promised"]["known_tokens"] == 2
        assert ask(server, CHAT, {"model": MODEL, "messages": [{"role": "user", "content": ""}], "max_tokens": 1}).status == 200
