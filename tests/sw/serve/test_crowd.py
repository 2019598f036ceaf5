"""200 requests of 20 clients at once, a third of whom leave halfway: every other answer is the golden model's."""

import json
import random
import resource
import threading
import time
from contextlib import suppress

import pytest

from tests.sw.serve.http import TEXT, ask, connected, raw
from tests.sw.serve.openers import Emulated
from tests.sw.serve.servers import MODEL, Running
from tests.sw.serve.test_queue import busy, until

CLIENTS, REQUESTS, STEPS = 20, 10, 8
GROWTH_KB = 16 << 10
"""Memory by which the server may grow while it answers 200 requests: the allocator's, not the requests' own."""


class Client:
    """A client: asks one thing after another, and leaves every third."""

    def __init__(self, server, number):
        self.server, self.random, self.answers, self.left_s = server, random.Random(number), [], []

    def run(self):
        for number in range(REQUESTS):
            prompt = [self.random.randrange(1, 390) for _ in range(self.random.randrange(1, 6))]
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


@pytest.mark.slow
def test_a_crowd(tmp_path, program):
    with Running(tmp_path, Emulated(), tile_count=2) as server:
        ask(server, TEXT, {"model": MODEL, "prompt": [5], "max_tokens": 1})
        memory = [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]
        for _ in range(2):
            clients = [Client(server, number) for number in range(CLIENTS)]
            threads = [threading.Thread(target=client.run) for client in clients]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        until(lambda: busy(server)["marey_busy_tiles"] == 0)
        values = busy(server)
        answered = [answer for client in clients for answer in client.answers]
        for prompt, stream, answer, _ in answered:
            made = program.greedy(prompt, STEPS)
            if stream:
                chunks = answer.chunks
                text = "".join(chunk["choices"][0]["text"] for chunk in chunks)
                promised, measured = chunks[0]["marey"]["promised"], chunks[-1]["marey"]["measured"]
            else:
                found = answer.json
                text, promised, measured = found["choices"][0]["text"], found["marey"]["promised"], found["marey"]["measured"]
            assert text == program.program.tokenizer.decode(made)
            assert measured["prompt_cycles"] == promised["prompt_cycles"]
            assert measured["token_cycles"] == promised["token_cycles"][:len(measured["token_cycles"])]
        print(json.dumps({
            "answered": len(answered), "left": values["marey_clients_left_total"], "tokens": values["marey_tokens_total"],
            "longest_wait_s": round(max(seconds for *_, seconds in answered), 2), "memory_kb": memory}))
        assert values["marey_predicted_cycles_total"] == values["marey_measured_cycles_total"]
        assert values["marey_waiting_requests"] == 0 and values["marey_clients_left_total"] > CLIENTS * REQUESTS / 5
        assert memory[2] - memory[1] < GROWTH_KB
