"""200 requests of 20 clients at once, a third of whom leave halfway: every other answer is the golden model's."""

import json
import random
import re
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.sw.serve.http import TEXT, ask, connected, raw
from tests.sw.serve.openers import Emulated, verilated
from tests.sw.serve.servers import MODEL, Running, known, stories
from tests.sw.serve.test_queue import busy, until

CLIENTS, REQUESTS, STEPS = 20, 10, 8
GROWTH_KB = 4 << 10
"""Memory by which the server may grow while it answers 200 requests more: the allocator's, not the requests' own."""


class Client:
    """A client: asks one thing after another, and leaves every third."""

    def __init__(self, server, number):
        self.server, self.random, self.answers = server, random.Random(number), []

    def run(self):
        for number in range(REQUESTS):
            prompt = [self.random.randrange(3, 380) for _ in range(self.random.randrange(1, 6))]
            body = {"model": MODEL, "prompt": prompt, "temperature": 0, "max_tokens": STEPS,
                    "stream": self.random.random() < 0.5}
            if (number + self.random.randrange(3)) % 3 == 0:
                self._leave(body)
                continue
            begun = time.monotonic()
            self.answers.append((prompt, body["stream"], ask(self.server, TEXT, body), time.monotonic() - begun))

    def _leave(self, body):
        with connected(self.server) as connection:
            connection.sendall(raw(TEXT, body))
            connection.settimeout(self.random.random())
            with suppress(TimeoutError):
                connection.recv(1 << 16)


def memory_kb():
    """The memory of this process, in which the server is, in KB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def crowd(server):
    """The answers that 20 clients get."""
    clients = [Client(server, number) for number in range(CLIENTS)]
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [answer for client in clients for answer in client.answers]


def told(stream, answer):
    """The text of an answer, what was promised for it, and what was measured."""
    if stream:
        chunks = answer.chunks
        text = "".join(chunk["choices"][0]["text"] for chunk in chunks)
        return text, chunks[0]["marey"]["promised"], chunks[-1]["marey"]["measured"]
    found = answer.json
    return found["choices"][0]["text"], found["marey"]["promised"], found["marey"]["measured"]


@pytest.mark.slow
@pytest.mark.parametrize(("served", "opener"), [(known, Emulated()), (stories, verilated)],
                         ids=["tiny, emulated", "stories in Verilator"])
def test_a_crowd(tmp_path, compiler, served, opener):
    golden, seen = served(), {}
    with Running(tmp_path, opener, golden.program, tile_count=2) as server:
        memory, begun = [], time.monotonic()
        for _ in range(3):
            answered = crowd(server)
            memory.append(memory_kb())
        wall_s = time.monotonic() - begun
        until(lambda: busy(server)["marey_busy_tiles"] == 0)
        values = busy(server)
    for prompt, stream, answer, _ in answered:
        text, promised, measured = told(stream, answer)
        key = tuple(prompt)
        if key not in seen:
            seen[key] = golden.program.tokenizer.decode(golden.greedy(prompt, STEPS, golden.ends))
        assert text == seen[key]
        assert measured["prompt_cycles"] == promised["prompt_cycles"]
        assert measured["token_cycles"] == promised["token_cycles"][:len(measured["token_cycles"])]
    print(json.dumps({
        "answered": len(answered), "left": values["marey_clients_left_total"], "tokens": values["marey_tokens_total"],
        "wall_s": round(wall_s, 1), "longest_s": round(max(seconds for *_, seconds in answered), 1), "memory_kb": memory}))
    assert values["marey_predicted_cycles_total"] == values["marey_measured_cycles_total"]
    assert values["marey_waiting_requests"] == 0 and values["marey_clients_left_total"] > 3 * CLIENTS * REQUESTS / 5
    assert memory[2] - memory[1] < GROWTH_KB
