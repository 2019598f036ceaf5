"""The clients that people have: the openai package and LangChain's ChatOpenAI, streaming and not."""

import pytest

from tests.sw.serve.http import CHAT, TEXT, ask
from tests.sw.serve.servers import MODEL, Running

QUESTION = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def client(server):
    openai = pytest.importorskip("openai", reason="the package openai is not installed")
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
        yield client


def test_openai_answers_and_streams(client):
    asked = {"model": MODEL, "messages": QUESTION, "temperature": 0, "max_tokens": 4}
    whole = client.chat.completions.create(**asked, logprobs=True, top_logprobs=2, user="someone", n=1, stop=["never"])
    text = whole.choices[0].message.content
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    assert "".join(entry.token for entry in whole.choices[0].logprobs.content) == text
    chunks = [*client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
    assert chunks[0].choices[0].delta.role == "assistant" and chunks[-1].usage == whole.usage.model_copy(
        update={"prompt_tokens_details": chunks[-1].usage.prompt_tokens_details})
    assert chunks[0].marey["promised"]["token_cycles"] == chunks[-2].marey["measured"]["token_cycles"]
    completed = client.completions.create(model=MODEL, prompt="on", max_tokens=3, temperature=0)
    streamed = client.completions.create(model=MODEL, prompt="on", max_tokens=3, temperature=0, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == completed.choices[0].text
    assert [model.id for model in client.models.list()] == [MODEL] and client.models.retrieve(MODEL).owned_by == "marey"
    raw = client.chat.completions.with_raw_response.create(**asked)
    assert int(raw.headers["marey-deadline-cycles"]) == raw.parse().marey["promised"]["deadline_cycles"]


def test_objects_are_those_of_the_published_schema(client, server):
    """The package's types are generated from OpenAI's OpenAPI description: each object has all that they require."""
    from openai.types import Completion, ErrorObject, Model
    from openai.types.chat import ChatCompletion, ChatCompletionChunk

    asked = {"model": MODEL, "messages": QUESTION, "temperature": 0, "max_tokens": 2}
    with_logprobs = {"logprobs": True, "top_logprobs": 1}
    for more in ({}, with_logprobs):
        ChatCompletion.model_validate(ask(server, CHAT, asked | more).json)
        for chunk in ask(server, CHAT, asked | more | {"stream": True, "stream_options": {"include_usage": True}}).chunks:
            ChatCompletionChunk.model_validate(chunk)
    Completion.model_validate(ask(server, TEXT, {"model": MODEL, "prompt": "on", "max_tokens": 1, "logprobs": 1}).json)
    Model.model_validate(ask(server, "/v1/models").json["data"][0])
    ErrorObject.model_validate(ask(server, CHAT, asked | {"n": 2}).json["error"])


def test_openai_knows_the_errors(client):
    import openai

    asked = {"model": MODEL, "messages": QUESTION}
    for error, param, wrong in ((openai.NotFoundError, "model", {"model": "other"}),
                                (openai.BadRequestError, "n", {"n": 2}),
                                (openai.BadRequestError, "temperature", {"temperature": 3}),
                                (openai.BadRequestError, "messages", {"messages": []}),
                                (openai.BadRequestError, "messages", {"messages": [{"role": "user", "content": "x" * 99}]})):
        with pytest.raises(error) as caught:
            client.chat.completions.create(**asked | wrong)
        assert caught.value.param == param and caught.value.type == "invalid_request_error"
    assert caught.value.code == "context_length_exceeded"


def test_a_key_that_is_asked_for(tmp_path):
    openai = pytest.importorskip("openai", reason="the package openai is not installed")
    from tests.sw.serve.openers import Emulated

    with Running(tmp_path, Emulated(), api_key="s3cret") as server:
        for key, good in (("s3cret", True), ("secret", False)):
            with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as client:
                if good:
                    assert client.models.retrieve(MODEL).id == MODEL
                    continue
                with pytest.raises(openai.AuthenticationError) as caught:
                    client.models.list()
                assert caught.value.code == "invalid_api_key"


def test_langchain_answers_and_streams(server):
    langchain = pytest.importorskip("langchain_openai", reason="the package langchain-openai is not installed")
    model = langchain.ChatOpenAI(model=MODEL, base_url=f"{server.url}/v1", api_key="any", temperature=0, max_tokens=4,
                                 max_retries=0, stream_usage=True)
    answer = model.invoke([("system", "be"), ("human", "hi")])
    assert answer.response_metadata["finish_reason"] in ("stop", "length") and answer.usage_metadata["output_tokens"] <= 4
    pieces = [*model.stream([("system", "be"), ("human", "hi")])]
    assert "".join(piece.content for piece in pieces) == answer.content
    assert next(piece.usage_metadata for piece in pieces if piece.usage_metadata)["output_tokens"] == (
        answer.usage_metadata["output_tokens"])
