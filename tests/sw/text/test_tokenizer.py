"""The tokenizer against llama2.c's algorithm, written independently here."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.sw.errors import FormatError
from marey.sw.formats import load_tokenizer
from marey.sw.formats.llama2c_tokenizer import BOS, BYTES_FROM, read_tokenizer, write_tokenizer
from marey.sw.formats.tiny import tiny_tokenizer
from marey.sw.text.tokenizer import SPACE

TOKENIZER = tiny_tokenizer()
LETTERS = st.text(alphabet=st.sampled_from("once upa timhrSTueDgl.,!é你\n"), max_size=40)


def records(path):
    """Pieces and scores of a llama2.c tokenizer file."""
    content, position = path.read_bytes(), 4
    while position < len(content):
        score, length = struct.unpack_from("<fi", content, position)
        yield content[position + 8:position + 8 + length], score
        position += 8 + length


def merge_greedily(records, text):
    """llama2.c's encode: characters, or their bytes; then always the neighbours whose merged piece
    scores best.
    """
    pieces, scores = zip(*records, strict=True)
    index = {piece: token for token, piece in reversed(list(enumerate(pieces)))}
    tokens = []
    for character in " " + text if text else "":
        octets = character.encode()
        tokens += [index[octets]] if octets in index else [octet + BYTES_FROM for octet in octets]
    while True:
        best = None
        for at in range(len(tokens) - 1):
            merged = index.get(pieces[tokens[at]] + pieces[tokens[at + 1]])
            if merged is not None and (best is None or scores[merged] > scores[best[1]]):
                best = at, merged
        if best is None:
            return [BOS, *tokens]
        tokens[best[0]:best[0] + 2] = [best[1]]


@settings(max_examples=200, deadline=None)
@given(text=LETTERS)
def test_encodes_as_llama2c_does(tiny, text):
    assert TOKENIZER.encode(text) == merge_greedily(records(tiny.with_name("tokenizer.bin")), text)


@settings(max_examples=100, deadline=None)
@given(text=LETTERS)
def test_encodes_as_llama2c_does_with_a_real_vocabulary(stories, text):
    tokenizer = load_tokenizer(None, stories, 512)
    assert tokenizer.encode(text) == merge_greedily(records(stories.with_name("tok512.bin")), text)


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters=SPACE), max_size=30))
def test_any_text_comes_back(text):
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@settings(max_examples=100, deadline=None)
@given(text=LETTERS)
def test_streaming_says_the_same(text):
    stream = TOKENIZER.stream()
    assert "".join(map(stream, TOKENIZER.encode(text))) + stream.rest() == text


@settings(max_examples=200, deadline=None)
@given(tokens=st.lists(st.integers(0, len(TOKENIZER.pieces) - 1), max_size=30))
def test_any_tokens_decode_to_some_text(tokens):
    assert isinstance(TOKENIZER.decode(tokens), str)


def test_file_round_trip(tmp_path):
    write_tokenizer(tmp_path / "t.bin", TOKENIZER)
    assert read_tokenizer(tmp_path / "t.bin", len(TOKENIZER.pieces)).to_json() == TOKENIZER.to_json()


def refused(path, vocab_size=515):
    with pytest.raises(FormatError) as caught:
        read_tokenizer(path, vocab_size)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_truncated(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("t") / "t.bin"
    write_tokenizer(path, TOKENIZER)
    content = path.read_bytes()
    path.write_bytes(content[:data.draw(st.integers(0, len(content) - 1))])
    refused(path)


def test_of_another_model(tmp_path):
    write_tokenizer(tmp_path / "t.bin", TOKENIZER)
    assert "belongs to another model" in refused(tmp_path / "t.bin", 512)
    (tmp_path / "long.bin").write_bytes((tmp_path / "t.bin").read_bytes() + b"\0")
    assert "truncated" in refused(tmp_path / "long.bin")


def test_damaged(tmp_path):
    path = tmp_path / "t.bin"
    write_tokenizer(path, TOKENIZER)
    content = path.read_bytes()
    path.write_bytes(struct.pack("<i", -1) + content[4:])
    assert "no llama2.c tokenizer" in refused(path)
    path.write_bytes(content[:4] + struct.pack("<f", float("nan")) + content[8:])
    assert "damaged" in refused(path)
    path.write_bytes(content[:8] + struct.pack("<i", 1 << 20) + content[12:])
    assert "damaged" in refused(path)


def test_none_beside_the_model(tmp_path):
    with pytest.raises(FormatError, match="--tokenizer"):
        load_tokenizer(None, tmp_path / "model.bin", 512)
