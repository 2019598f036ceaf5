"""Answers: their text is the golden model's, their form OpenAI's, their cycles those that were promised."""

import shutil
import subprocess

import pytest

from marey.sw.runtime.conversation import ends, prompt_tokens
from tests.sw.serve.http import CHAT, TEXT, ask
from tests.sw.serve.servers import CLOCK, MODEL, TEMPLATE

QUESTION = [{"role": "system", "content": "be"}, {"role": "user", "content": "hi"}]
TOKENS = [5, 6, 7, 8]


def expected(program, tokens, steps, end_tokens=(0,)):
    """The text of the golden model, and the number of its tokens."""
    made = program.greedy(tokens, steps, end_tokens)
    return program.program.tokenizer.decode(made), len(made)


def check_marey(program, promised, told, prompt_count, headers=None):
    """What was promised is what was measured, and is what the program says."""
    known, measured = promised["known_tokens"], told["measured"]
    cycles = program.program.cycles
    assert promised["prompt_cycles"] == sum(cycles(at, False) for at in range(known, prompt_count - 1))
    assert promised["token_cycles"] == [cycles(prompt_count - 1 + at) for at in range(len(promised["token_cycles"]))]
    assert measured["prompt_cycles"] == promised["prompt_cycles"]
    assert measured["token_cycles"] == promised["token_cycles"][:len(measured["token_cycles"])]
    assert promised["deadline_cycles"] == promised["prompt_cycles"] + sum(promised["token_cycles"]) >= measured["cycles"]
    assert promised["deadline_seconds"] == pytest.approx(promised["deadline_cycles"] / CLOCK.hz)  # a sum of floats
    if headers:
        runs = [run.split(";n=") for run in headers["marey-token-cycles"].split(", ")]
        assert [int(cycles) for cycles, count in runs for _ in range(int(count))] == promised["token_cycles"]
        assert headers["marey-prompt-cycles"] == str(promised["prompt_cycles"])
        assert headers["marey-deadline-cycles"] == str(promised["deadline_cycles"])


def test_a_chat_is_the_golden_models(server, program):
    tokens = prompt_tokens(program.program, TEMPLATE, QUESTION)
    text, count = expected(program, tokens, 6, {0, *ends(program.program)})
    answer = ask(server, CHAT, {"model": MODEL, "messages": QUESTION, "temperature": 0, "max_tokens": 6})
    found = answer.json
    assert answer.status == 200 and found["object"] == "chat.completion" and found["id"].startswith("chatcmpl-")
    (choice,) = found["choices"]
    assert choice["message"] == {"role": "assistant", "content": text, "refusal": None} and choice["index"] == 0
    assert choice["finish_reason"] == ("length" if count == 6 else "stop") and choice["logprobs"] is None
    assert found["usage"] == {"prompt_tokens": len(tokens), "completion_tokens": count, "total_tokens": len(tokens) + count,
                              "prompt_tokens_details": {"cached_tokens": found["marey"]["promised"]["known_tokens"]}}
    check_marey(program, found["marey"]["promised"], found["marey"], len(tokens), answer.headers)


def test_a_stream_says_the_same(server, program):
    body = {"model": MODEL, "messages": QUESTION, "temperature": 0, "max_completion_tokens": 6}
    whole = ask(server, CHAT, body).json
    answer = ask(server, CHAT, body | {"stream": True, "stream_options": {"include_usage": True}})
    assert answer.headers["content-type"].startswith("text/event-stream")
    first, *pieces, last, usage = chunks = answer.chunks
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert all(set(chunk["choices"][0]["delta"]) == {"content"} for chunk in pieces) and last["choices"][0]["delta"] == {}
    text = "".join(chunk["choices"][0]["delta"]["content"] for chunk in pieces)
    assert text == whole["choices"][0]["message"]["content"]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 2) + [
        whole["choices"][0]["finish_reason"]]
    assert usage["choices"] == [] and usage["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"} and len({chunk["id"] for chunk in chunks}) == 1
    promised = first["marey"]["promised"]
    assert promised["known_tokens"] == usage["usage"]["prompt_tokens"] - 1  # the same prompt is in the KV cache
    check_marey(program, promised, last["marey"], usage["usage"]["prompt_tokens"], answer.headers)
    by_chunk = [cycles for chunk in pieces for cycles in chunk["marey"]["token_cycles"]]
    assert by_chunk == last["marey"]["measured"]["token_cycles"][:len(by_chunk)] and by_chunk


@pytest.mark.parametrize("prompt", [TOKENS, [TOKENS], "on", ["on"], ""])
def test_a_completion_takes_text_and_tokens(server, program, prompt):
    plain = prompt[0] if isinstance(prompt, list) and not isinstance(prompt[0], int) else prompt
    tokens = program.program.tokenizer.encode(plain) if isinstance(plain, str) else plain
    text, count = expected(program, tokens or [0], 3)
    answer = ask(server, TEXT, {"model": MODEL, "prompt": prompt, "temperature": 0, "max_tokens": 3})
    found = answer.json
    assert found["object"] == "text_completion" and found["choices"][0]["text"] == text
    assert found["usage"]["completion_tokens"] == count
    check_marey(program, found["marey"]["promised"], found["marey"], len(tokens or [0]), answer.headers)
    echoed = ask(server, TEXT, {"model": MODEL, "prompt": prompt, "temperature": 0, "max_tokens": 1, "echo": True}).json
    before = plain if isinstance(plain, str) else program.program.tokenizer.decode(plain)
    assert echoed["choices"][0]["text"].startswith(before)


def test_stop_texts_seeds_and_the_end_of_the_context(server, program):
    body = {"model": MODEL, "prompt": TOKENS, "temperature": 0}
    text = ask(server, TEXT, body | {"max_tokens": 6}).json["choices"][0]["text"]
    stop = text[3:6]
    found = ask(server, TEXT, body | {"stop": stop}).json
    assert found["choices"][0]["text"] == text[:text.index(stop)] and found["choices"][0]["finish_reason"] == "stop"
    streamed = ask(server, TEXT, body | {"stop": [stop, "never"], "stream": True}).chunks
    assert "".join(chunk["choices"][0]["text"] for chunk in streamed) == text[:text.index(stop)]
    body["max_tokens"] = 3
    drawn = [ask(server, TEXT, body | {"temperature": 1.5, "seed": seed}).json for seed in (3, 3, -1)]
    assert drawn[0]["choices"] == drawn[1]["choices"] != drawn[2]["choices"] and drawn[0]["marey"]["seed"] == 3
    likeliest = ask(server, TEXT, body | {"temperature": 1.5, "top_p": 1e-9}).json
    assert text.startswith(likeliest["choices"][0]["text"])
    context = program.program.model.context
    full = ask(server, TEXT, body | {"max_tokens": 10_000, "prompt": TOKENS, "stop": text[:1]}).json
    assert len(full["marey"]["promised"]["token_cycles"]) == context - len(TOKENS) + 1
    assert full["choices"][0]["text"] == "" and full["choices"][0]["finish_reason"] == "stop"


def test_log_probabilities(server):
    body = {"model": MODEL, "messages": QUESTION, "temperature": 0, "max_tokens": 3, "logprobs": True, "top_logprobs": 3}
    whole = ask(server, CHAT, body).json["choices"][0]["logprobs"]["content"]
    assert len(whole) == 3 and all(len(entry["top_logprobs"]) == 3 for entry in whole)
    assert all(entry["logprob"] == entry["top_logprobs"][0]["logprob"] <= 0 for entry in whole)
    assert all(bytes(entry["bytes"]).decode() == entry["token"] for entry in whole)
    streamed = ask(server, CHAT, body | {"stream": True}).chunks
    pieces = [chunk["choices"][0]["logprobs"] for chunk in streamed if chunk["choices"]]
    assert [entry for piece in pieces if piece for entry in piece["content"]] == whole
    none = ask(server, CHAT, body | {"top_logprobs": None}).json["choices"][0]["logprobs"]["content"]
    assert [entry["top_logprobs"] for entry in none] == [[]] * 3
    text = ask(server, TEXT, {"model": MODEL, "prompt": TOKENS, "temperature": 0, "max_tokens": 3, "logprobs": 2}).json
    found = text["choices"][0]["logprobs"]
    assert {len(found[name]) for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")} == {3}
    assert found["text_offset"][0] == 0 and all(0 < len(top) <= 2 for top in found["top_logprobs"])


def test_models_metrics_and_health(server):
    listed = ask(server, "/v1/models").json
    assert listed["object"] == "list" and [model["id"] for model in listed["data"]] == [MODEL]
    assert ask(server, f"/v1/models/{MODEL}").json == listed["data"][0]
    assert ask(server, "/health").json == {"status": "ok"}
    lines = ask(server, "/metrics").body.decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert values["marey_predicted_cycles_total"] == values["marey_measured_cycles_total"]
    assert values["marey_ready_tiles"] == "1.0" and values["marey_waiting_requests"] == "0.0"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on PATH")
def test_curl_gets_a_stream(server):
    body = f'{{"model": "{MODEL}", "stream": true, "max_tokens": 2, "messages": [{{"role": "user", "content": "hi"}}]}}'
    done = subprocess.run(["curl", "-sN", f"{server.url}{CHAT}", "-H", "Authorization: Bearer none", "-d", body],
                          capture_output=True, text=True, timeout=30, check=True)
    lines = done.stdout.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""] and all(line.startswith("data: {") for line in lines[:-2])
