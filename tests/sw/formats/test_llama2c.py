"""llama2.c checkpoints: what is read is what was written, and what is damaged is refused in one
line.
"""

import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.sw.errors import FormatError
from marey.sw.formats import llama2c, load_model
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from tests.models import assert_same, shapes

SMALL = ModelConfig(dim=8, hidden_dim=12, n_layers=2, n_heads=2, n_kv_heads=1, vocab_size=300, seq_len=16)


@settings(max_examples=25, deadline=None)
@given(config=shapes(), seed=st.integers(0, 100))
def test_round_trip(tmp_path_factory, config, seed):
    path = tmp_path_factory.mktemp("m") / "m.bin"
    model = tiny_model(config, seed)
    llama2c.write(path, model)
    assert_same(model, load_model(path))


def versioned(model, version, group=0):
    """A checkpoint of version 1 or 2, as `export.py` writes it; and the weights that it means, by
    name and layer.
    """
    config = model.config
    header = struct.pack("<4si7iBi", b"24ka", version, config.dim, config.hidden_dim, config.n_layers, config.n_heads,
                         config.n_kv_heads, config.vocab_size, config.seq_len, config.tied, group)
    parts, means = [header.ljust(256, b"\0")], {}

    def add(key, values):
        values = np.ascontiguousarray(values, "<f4")
        if version == 2 and values.ndim == 2:
            groups = values.reshape(-1, group)
            scale = (np.abs(groups).max(axis=1) / 127).astype("<f4")
            whole = np.rint(groups / scale[:, None]).astype(np.int8)
            parts.extend([whole.tobytes(), scale.tobytes()])
            values = (whole * scale[:, None]).reshape(values.shape)
        else:
            parts.append(values.tobytes())
        means[key] = values

    for name in ("attention_norm", "ffn_norm"):
        for index in range(config.n_layers):
            add(f"layers.{index}.{name}", model[f"layers.{index}.{name}"])
    add("final_norm", model["final_norm"])
    add("embedding", model["embedding"])
    for name in ("wq", "wk", "wv", "wo", "w1", "w2", "w3"):
        for index in range(config.n_layers):
            add(f"layers.{index}.{name}", model[f"layers.{index}.{name}"])
    if not config.tied:
        add("classifier", model["classifier"])
    return b"".join(parts), means


@settings(max_examples=15, deadline=None)
@given(config=shapes(), seed=st.integers(0, 100))
def test_version_1(tmp_path_factory, config, seed):
    path, model = tmp_path_factory.mktemp("m") / "m.bin", tiny_model(config, seed)
    path.write_bytes(versioned(model, 1)[0])
    assert_same(model, load_model(path))


@settings(max_examples=15, deadline=None)
@given(config=shapes(), seed=st.integers(0, 100), group=st.sampled_from([2, 4, 8]))
def test_version_2(tmp_path_factory, config, seed, group):
    config = replace(config, dim=8 * config.n_heads, hidden_dim=8 * config.hidden_dim)
    path = tmp_path_factory.mktemp("m") / "m.bin"
    content, means = versioned(tiny_model(config, seed), 2, group)
    path.write_bytes(content)
    model = load_model(path)
    assert model.config == config
    for key, values in means.items():
        assert np.array_equal(model[key], values), key


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
    """Any single flipped bit of the header changes the size that the file must have, or is absurd.
    """
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


@pytest.mark.parametrize(("version", "change", "word"), [
    (1, lambda content: content[:100], "truncated"), (1, lambda content: content[:-4], "truncated"),
    (1, lambda content: content + b"\0", "too long"), (2, lambda content: content[:-1], "truncated"),
    (1, lambda content: content[:4] + struct.pack("<i", 3) + content[8:], "version 3"),
    (2, lambda content: content[:37] + struct.pack("<i", 7) + content[41:], "groups of 7"),
    (2, lambda content: content[:37] + struct.pack("<i", 0) + content[41:], "groups of 0"),
    (1, lambda content: content[:36] + b"\2" + content[37:], "0 or 1"),
    (1, lambda content: content[:8] + struct.pack("<i", 1 << 30) + content[12:], "dim"),
    (2, lambda content: content[:-4] + struct.pack("<f", np.inf), "NaN or infinite"),
    (2, lambda content: content[:-4] + struct.pack("<f", 3e38), "NaN or infinite"),
])
def test_versions_damaged(tmp_path, version, change, word):
    content, _ = versioned(tiny_model(SMALL), version, 4)
    (tmp_path / "m.bin").write_bytes(change(content))
    refused(tmp_path / "m.bin", word)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_a_number(tmp_path, content, value):
    path = tmp_path / "nan.bin"
    path.write_bytes(content[:100] + struct.pack("<f", value) + content[104:])
    refused(path, "NaN")


def test_odd_head(tmp_path, content):
    path = tmp_path / "odd.bin"
    path.write_bytes(content[:12] + struct.pack("<i", 8) + content[16:])
    refused(path, "divide")
