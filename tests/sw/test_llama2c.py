"""llama2.c checkpoints: what is read is what was written, and what is damaged is refused in one line."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.sw.errors import FormatError
from marey.sw.formats import llama2c, load_model
from marey.sw.model import ModelConfig
from marey.sw.tiny import tiny_model

SMALL = ModelConfig(dim=8, hidden_dim=12, n_layers=2, n_heads=2, n_kv_heads=1, vocab_size=300, seq_len=16)


@st.composite
def configs(draw):
    heads = draw(st.sampled_from([1, 2, 4]))
    return ModelConfig(
        dim=heads * 2 * draw(st.integers(1, 4)), hidden_dim=draw(st.integers(1, 40)), n_layers=draw(st.integers(1, 3)),
        n_heads=heads, n_kv_heads=draw(st.sampled_from([kv for kv in (1, 2, 4) if heads % kv == 0])),
        vocab_size=draw(st.integers(1, 300)), seq_len=draw(st.integers(1, 64)), tied=draw(st.booleans()))


@settings(max_examples=25, deadline=None)
@given(config=configs(), seed=st.integers(0, 100))
def test_round_trip(tmp_path_factory, config, seed):
    path = tmp_path_factory.mktemp("m") / "m.bin"
    model = tiny_model(config, seed)
    llama2c.write(path, model)
    read = load_model(path)
    assert read.config == config
    assert np.array_equal(read.embedding, model.embedding) and np.array_equal(read.final_norm, model.final_norm)
    assert np.array_equal(read.classifier, model.classifier)
    assert (read.classifier is read.embedding) == config.tied
    for mine, theirs in zip(read.layers, model.layers, strict=True):
        for name in llama2c.LEGACY_ORDER:
            assert np.array_equal(getattr(mine, name), getattr(theirs, name)), name


def refused(path, *words):
    with pytest.raises(FormatError) as caught:
        load_model(path)
    message = str(caught.value)
    assert "\n" not in message and path.name in message
    for word in words:
        assert word in message


@pytest.fixture
def content(tmp_path):
    path = tmp_path / "good.bin"
    llama2c.write(path, tiny_model(SMALL))
    return path.read_bytes()


@pytest.mark.parametrize(("cut", "word"), [(0, "too short"), (27, "too short"), (28, "truncated"), (-4, "truncated")])
def test_cut_off(tmp_path, content, cut, word):
    path = tmp_path / "cut.bin"
    path.write_bytes(content[:cut])
    refused(path, word)


def test_too_long(tmp_path, content):
    path = tmp_path / "long.bin"
    path.write_bytes(content + b"\0\0\0\0")
    refused(path, "too long")


def test_no_file(tmp_path):
    refused(tmp_path / "absent.bin", "no such file")


@pytest.mark.parametrize("field", range(7))
@pytest.mark.parametrize("value", [0, -7, 1 << 30, -(1 << 31), 0x7FFFFFFF])
def test_absurd_dimensions(tmp_path, content, field, value):
    path = tmp_path / "absurd.bin"
    path.write_bytes(content[:4 * field] + struct.pack("<i", value) + content[4 * field + 4:])
    refused(path)


@given(bit=st.integers(0, 28 * 8 - 1))
@settings(max_examples=100, deadline=None)
def test_a_flipped_bit_of_the_header(tmp_path_factory, bit):
    """Any single flipped bit of the header changes the size that the file must have, or is absurd."""
    folder = tmp_path_factory.mktemp("flip")
    llama2c.write(folder / "good.bin", tiny_model(SMALL))
    content = bytearray((folder / "good.bin").read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    (folder / "flip.bin").write_bytes(content)
    try:
        model = load_model(folder / "flip.bin")
    except FormatError as error:
        assert "\n" not in str(error)
    else:
        # Another number of heads, of the same width, makes a file of the same size: nothing tells it apart.
        assert model.config != SMALL and bit // 32 in (3, 4)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_a_number(tmp_path, content, value):
    path = tmp_path / "nan.bin"
    path.write_bytes(content[:100] + struct.pack("<f", value) + content[104:])
    refused(path, "NaN")


def test_odd_head(tmp_path, content):
    path = tmp_path / "odd.bin"
    path.write_bytes(content[:12] + struct.pack("<i", 8) + content[16:])
    refused(path, "divide")
