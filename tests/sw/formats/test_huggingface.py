"""Hugging Face folders: the same model as in the other formats; what is damaged or cannot be done
is refused.
"""

import json
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from marey.sw.errors import FormatError
from marey.sw.formats import load_model, load_shape, load_tokenizer
from marey.sw.formats.huggingface_family import join_halves, split_halves
from marey.sw.formats.huggingface_llama import FIELDS, TENSORS
from marey.sw.formats.tiny import tiny_model, tiny_tokenizer
from marey.sw.model.config import ModelConfig

SMALL = ModelConfig(dim=32, hidden_dim=44, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=300, seq_len=16, tied=False)


def convert(folder, model, tokenizer, dtype=np.float32, shards=1, **changes):
    """Writes a folder as Hugging Face has it, independently of the reader."""
    config = model.config
    tensors = {"model.embed_tokens.weight": model["embedding"], "model.norm.weight": model["final_norm"]}
    if not config.tied:
        tensors["lm_head.weight"] = model["classifier"]
    for index in range(config.n_layers):
        for name, path in TENSORS.items():
            values = model[f"layers.{index}.{name}"]
            if name in ("wq", "wk"):
                # Even channels of each head first, then odd ones.
                heads = values.reshape(-1, config.head_dim, config.dim)
                values = np.concatenate([heads[:, 0::2], heads[:, 1::2]], axis=1).reshape(values.shape)
            tensors[f"model.layers.{index}.{path}.weight"] = values
    tensors = {name: np.ascontiguousarray(values).astype(dtype) for name, values in tensors.items()}
    folder.mkdir(exist_ok=True)
    if shards == 1:
        save_file(tensors, folder / "model.safetensors")
    else:
        where = {name: f"model-{index % shards}.safetensors" for index, name in enumerate(tensors)}
        for file in set(where.values()):
            save_file({name: tensors[name] for name in tensors if where[name] == file}, folder / file)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    about = {"model_type": "llama", "hidden_act": "silu", "rope_theta": config.rope_theta, "rms_norm_eps": config.norm_eps,
             "tie_word_embeddings": config.tied} | {
                 field: getattr(config, name) for name, field in FIELDS.items()}
    (folder / "config.json").write_text(json.dumps(about | changes))
    (folder / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
    return folder


@pytest.mark.parametrize(("dtype", "shards"), [(np.float32, 1), (np.float32, 3), (np.float16, 1), (ml_dtypes.bfloat16, 2)])
def test_the_same_model(tmp_path, dtype, shards):
    model, tokenizer = tiny_model(SMALL), tiny_tokenizer(300)
    folder = convert(tmp_path / "hf", model, tokenizer, dtype, shards)
    read = load_model(folder)
    assert read.config == SMALL
    for name in model.weights:
        assert np.array_equal(model[name].astype(dtype).astype(np.float32), read[name]), name
    text = "once upon a time, hé"
    assert load_tokenizer(None, folder, 300).encode(text) == tokenizer.encode(text)


@pytest.mark.parametrize(("found", "theta"), [
    ({"rope_theta": 5000}, 5000.0), ({"rope_scaling": {"rope_type": "default"}, "rope_theta": 5000}, 5000.0),
    ({"rope_parameters": {"rope_type": "default", "rope_theta": 7000.0}}, 7000.0)])
def test_rope_theta_where_it_may_be(tmp_path, found, theta):
    folder = convert(tmp_path / "hf", tiny_model(SMALL), tiny_tokenizer(300), **found)
    assert load_model(folder).config.rope_theta == theta


def test_key_value_heads_of_null(tmp_path):
    """As many as heads, as in folders from before grouped queries."""
    config = replace(SMALL, n_kv_heads=SMALL.n_heads)
    folder = convert(tmp_path / "hf", tiny_model(config), tiny_tokenizer(300), num_key_value_heads=None)
    assert load_model(folder).config == config


@pytest.mark.parametrize(("found", "eos"), [(5, (5,)), ([5, 7], (5, 7)), (None, (2,)), ([], ())])
def test_end_tokens_of_generation(tmp_path, found, eos):
    """generation_config.json, where it names end tokens, is heeded in the place of config.json."""
    folder = convert(tmp_path / "hf", tiny_model(SMALL), tiny_tokenizer(300), eos_token_id=2)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": found}))
    assert load_model(folder).config.eos == load_shape(folder).eos == eos


def test_end_tokens_of_generation_that_do_not_do(tmp_path):
    folder = convert(tmp_path / "hf", tiny_model(SMALL), tiny_tokenizer(300))
    (folder / "generation_config.json").write_text('{"eos_token_id": [2, 300]}')
    refused(folder, "generation_config.json", "token 300")
    (folder / "generation_config.json").write_text("[")
    refused(folder, "generation_config.json: damaged")


@pytest.mark.parametrize("window", [None, SMALL.seq_len, 4096, 7])
def test_the_context_ends_where_the_window_does(tmp_path, window):
    folder = convert(tmp_path / "hf", tiny_model(SMALL), tiny_tokenizer(300), sliding_window=window)
    assert load_model(folder).config == replace(SMALL, seq_len=min(window or SMALL.seq_len, SMALL.seq_len))


def test_tensors_that_follow_from_the_configuration_are_not_read(tmp_path):
    folder = convert(tmp_path / "hf", tiny_model(SMALL), tiny_tokenizer(300))
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(4, np.float32)}, folder / "model.safetensors")
    assert load_model(folder).config == SMALL
    save_file(tensors | {"model.layers.0.self_attn.q_proj.bias": np.ones(32, np.float32)}, folder / "model.safetensors")
    refused(folder, "q_proj.bias", "a bias")


@given(heads=st.integers(1, 4), half=st.integers(1, 4), position=st.integers(0, 100), seed=st.integers(0, 9))
def test_halves_turn_as_pairs_do(heads, half, position, seed):
    """Hugging Face turns channel i of a head with channel i + half; put into pairs, the reference's
    way gives the same.
    """
    rng = np.random.default_rng(seed)
    weight, x = rng.standard_normal((heads * 2 * half, 5)), rng.standard_normal(5)
    angle = position * 10000.0 ** (-np.arange(half) / half)
    q = (weight @ x).reshape(heads, 2, half)
    turned = np.stack([q[:, 0] * np.cos(angle) - q[:, 1] * np.sin(angle), q[:, 1] * np.cos(angle) + q[:, 0] * np.sin(angle)], 1)
    pairs = (join_halves(weight, heads) @ x).reshape(heads, half, 2)
    ours = (pairs[..., 0] + 1j * pairs[..., 1]) * np.exp(1j * angle)
    np.testing.assert_allclose(turned[:, 0] + 1j * turned[:, 1], ours, atol=1e-12)  # the same products, added in another order


@given(heads=st.integers(1, 4), half=st.integers(1, 4), dim=st.integers(1, 5))
def test_halves(heads, half, dim):
    weight = np.arange(heads * 2 * half * dim).reshape(-1, dim)
    assert np.array_equal(join_halves(split_halves(weight, heads), heads), weight)


def refused(folder, *words):
    with pytest.raises(FormatError) as caught:
        load_model(folder)
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in words), message


@pytest.mark.parametrize(("changes", "word"), [
    ({"rope_scaling": {"type": "linear"}}, "factor = None"), ({"attention_bias": True}, "attention_bias"),
    ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "yarn"), ({"sliding_window": 0}, "sliding_window"),
    ({"mlp_bias": True}, "mlp_bias"), ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
    ({"quantization_config": {"quant_method": "gptq"}}, "gptq"), ({"bos_token_id": 300}, "300"), ({"eos_token_id": ["x"]}, "x"),
    ({"tie_word_embeddings": "no"}, "true or false"), ({"rope_theta": True}, "rope_theta"), ({"rope_theta": 0}, "rope_theta"),
    ({"model_type": "mixtral"}, "mixtral"), ({"hidden_act": "gelu"}, "hidden_act"), ({"head_dim": 16}, "expected (64, 32)"),
    ({"head_dim": 7}, "heads"), ({"head_dim": "8"}, "heads of 8 channels"),
    ({"use_mrope": True, "model_type": "qwen2"}, "use_mrope"),
    ({"rope_parameters": {"full_attention": {"rope_theta": 5.0}}}, "full_attention"),
    ({"rope_parameters": {"rope_type": "linear", "factor": -2}}, "factor = -2"),
    ({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4}}, "low_freq_factor"),
    ({"hidden_size": 0}, "hidden_size"), ({"hidden_size": "32"}, "hidden_size"), ({"num_attention_heads": 3}, "divide"),
    ({"rms_norm_eps": -1}, "norm_eps"), ({"vocab_size": 301}, "expected (301, 32)"), ({"num_hidden_layers": 3}, "missing"),
])
def test_what_cannot_be_done(tmp_path, changes, word):
    refused(convert(tmp_path / "hf", tiny_model(SMALL), tiny_tokenizer(300), **changes), word)


def test_shards_stay_in_the_folder(tmp_path):
    folder = convert(tmp_path / "hf", tiny_model(SMALL), tiny_tokenizer(300), shards=2)
    index = folder / "model.safetensors.index.json"
    where = json.loads(index.read_text())
    where["weight_map"]["model.norm.weight"] = "../../elsewhere.safetensors"
    index.write_text(json.dumps(where))
    refused(folder, "weight_map")


def test_a_tokenizer_of_another_kind(tmp_path):
    folder = convert(tmp_path / "hf", tiny_model(SMALL), tiny_tokenizer(300))
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "WordPiece"}}))
    with pytest.raises(FormatError, match="--tokenizer"):
        load_tokenizer(None, folder, 300)
