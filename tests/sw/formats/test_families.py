"""Qwen2, Qwen3, Mistral, scaled rotary embeddings, and heads of any width: through folders and GGUF files and back.

`test_interop_families.py` compares with transformers and llama.cpp.
"""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.sw.errors import FormatError
from marey.sw.formats import gguf, huggingface, llama2c, load_model, load_shape, load_tokenizer
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.model.rotary import frequencies, llama3_factors
from tests.models import assert_same, logits
from tests.vocabularies import byte_level

SHAPE = ModelConfig(dim=24, hidden_dim=28, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=400, seq_len=32, bos=0, eos=(0,),
                    tied=False)
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}


def changed(folder, **changes):
    """The folder with other settings in its config.json; those of None are taken out."""
    path = folder / "config.json"
    found = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in found.items() if value is not None}))
    return folder


@settings(max_examples=12, deadline=None)
@given(family=st.sampled_from(["llama", "qwen2", "qwen3"]), half=st.integers(1, 5), tied=st.booleans(),
       factors=st.sampled_from(["", "linear", "drawn"]), seed=st.integers(0, 3))
def test_written_and_read(tmp_path_factory, family, half, tied, factors, seed):
    """Every family, any width of heads: GGUF files and folders have the same model."""
    folder = tmp_path_factory.mktemp("m")
    drawn = np.random.default_rng(seed).uniform(1, 9, half).astype(np.float32).tolist()
    config = replace(SHAPE, family=family, head_width=2 * half, tied=tied,
                     rope_factors={"": (), "linear": (4.0,) * half, "drawn": drawn}[factors])
    model = tiny_model(config, seed)
    for name, values in model.weights.items():
        if name.endswith(("_bias", "q_norm", "k_norm")):
            values += np.random.default_rng(len(name)).uniform(-0.5, 0.5, values.shape).astype(np.float32)
    gguf.write(folder / "m.gguf", model, byte_level())
    assert_same(load_model(folder / "m.gguf"), model)
    assert load_shape(folder / "m.gguf") == config
    if factors == "drawn" and half > 1:
        with pytest.raises(FormatError, match="no place for this model's scaled rotary embedding"):
            huggingface.write(folder / "m", model, byte_level())
        assert not (folder / "m").exists()
        return
    huggingface.write(folder / "m", model, byte_level())
    assert_same(load_model(folder / "m"), model)


def test_biases_norms_and_factors_count():
    """Each of them makes another model."""
    for family, name in (("qwen2", "layers.1.wq_bias"), ("qwen2", "layers.1.wk_bias"), ("qwen3", "layers.1.q_norm"),
                         ("qwen3", "layers.1.k_norm")):
        model = tiny_model(replace(SHAPE, family=family))
        before = logits(model)
        model[name][::2] += 1
        assert not np.allclose(logits(model), before, atol=1e-3), name
    plain, scaled = (tiny_model(replace(SHAPE, rope_factors=factors)) for factors in ((), (2.0, 1.0, 1.0)))
    assert not np.allclose(logits(plain), logits(scaled), atol=1e-3)


def test_scaled_positions():
    """A linear scaling by 2 makes position 2n what n was, for queries and keys alike."""
    config = replace(SHAPE, n_layers=1)
    np.testing.assert_allclose(2 * frequencies(replace(config, rope_factors=(2.0,) * 3)), frequencies(config))
    assert np.array_equal(frequencies(replace(config, head_width=8)), frequencies(replace(config, dim=32)))


@given(head=st.integers(1, 64), theta=st.sampled_from([1e4, 5e5]), factor=st.sampled_from([8.0, 32.0]),
       context=st.sampled_from([16, 8192]))
def test_llama3_factors(head, theta, factor, context):
    """By wavelengths, as the paper's code has it."""
    for pair, found in enumerate(llama3_factors(2 * head, theta, factor, 1.0, 4.0, context)):
        wavelength = 2 * math.pi * theta ** (2 * pair / (2 * head))
        smooth = (context / wavelength - 1) / 3
        expected = 1 if wavelength < context / 4 else factor if wavelength > context else 1 / (
            (1 - smooth) / factor + smooth)
        assert found == pytest.approx(expected, rel=1e-6)


@pytest.fixture
def folder(tmp_path):
    huggingface.write(tmp_path / "m", tiny_model(SHAPE), byte_level())
    return tmp_path / "m"


@pytest.mark.parametrize("where", ["rope_scaling", "rope_parameters"])
def test_scalings_of_folders(folder, where):
    """Where older and newer folders have them."""
    more = {"rope_theta": 7e3} if where == "rope_parameters" else {}
    changed(folder, rope_theta=7e3, **{where: {"rope_type": "llama3", **LLAMA3, **more}})
    config = load_shape(folder)
    assert config.rope_theta == 7e3 and config.rope_factors == llama3_factors(6, 7e3, 8.0, 1.0, 4.0, 16)
    changed(folder, **{where: {"type": "linear", "factor": 4, **more}})
    assert load_shape(folder).rope_factors == (4.0,) * 3
    gguf.write(folder / "m.gguf", load_model(folder), byte_level())
    assert load_model(folder / "m.gguf").config == load_shape(folder)


@pytest.mark.parametrize(("changes", "context"), [
    ({"model_type": "mistral", "sliding_window": 8}, 8), ({"model_type": "mistral", "sliding_window": 64}, 32),
    ({"model_type": "mistral"}, 32), ({"model_type": "mistral", "max_position_embeddings": 9000}, 4096)])
def test_mistral_ends_where_its_window_does(folder, changes, context):
    assert load_shape(changed(folder, **changes)) == replace(SHAPE, seq_len=context)


@pytest.mark.parametrize(("changes", "context"), [
    ({"sliding_window": 8, "use_sliding_window": False}, 32), ({"sliding_window": 8}, 32),
    ({"sliding_window": 8, "use_sliding_window": True}, 8)])
@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_a_window_of_qwen(tmp_path, family, changes, context):
    """It counts only if another setting says so."""
    huggingface.write(tmp_path / "m", tiny_model(replace(SHAPE, family=family)), byte_level())
    assert load_shape(changed(tmp_path / "m", **changes)).seq_len == context


def test_defaults_of_qwen3(tmp_path):
    huggingface.write(tmp_path / "m", tiny_model(replace(SHAPE, family="qwen3", head_width=128)), byte_level())
    assert load_shape(changed(tmp_path / "m", head_dim=None)).head_dim == 128


def test_llama2c_has_no_place(tmp_path):
    for change in ({"head_width": 8}, {"rope_factors": (2.0,) * 3}, {"family": "qwen2"}):
        config = replace(SHAPE, bos=1, eos=(2,), **change)
        with pytest.raises(FormatError, match="has no place for"):
            llama2c.write(tmp_path / "x.bin", tiny_model(config), byte_level())


def test_the_tokenizer_of_qwen(tmp_path):
    tokenizer = byte_level("qwen2")
    gguf.write(tmp_path / "m.gguf", tiny_model(SHAPE), tokenizer)
    read = load_tokenizer(None, tmp_path / "m.gguf", 400)
    assert all(read.encode(text) == tokenizer.encode(text) for text in ("one 1234 day", "a\n\n b", "don't"))
