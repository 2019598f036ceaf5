"""GPT-2 folders: as transformers writes them, against transformers itself, and through Marey's
writer and back.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from marey.sw.errors import FormatError
from marey.sw.formats import gguf, huggingface, llama2c, load_model, load_shape, load_tokenizer
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from tests.models import assert_same
from tests.vocabularies import byte_level

SMALL = ModelConfig(dim=32, hidden_dim=128, n_layers=2, n_heads=4, n_kv_heads=4, vocab_size=400, seq_len=16, bos=0, eos=(0,),
                    family="gpt2")
TEXT = "Once upon a time, 12 you're  é 你 <|endoftext|>dog"


def convert(folder, model, prefix="transformer.", **changes):
    """Writes a folder as transformers does, independently of Marey's writer."""
    config, tensors = model.config, {}
    for layer in range(config.n_layers):
        own = {name.split(".")[2]: values for name, values in model.weights.items() if name.startswith(f"layers.{layer}.")}
        tensors |= {f"{prefix}h.{layer}.{name}": values for name, values in {
            "ln_1.weight": own["attention_norm"], "ln_1.bias": own["attention_norm_bias"],
            "attn.c_attn.weight": np.hstack([own[name].T for name in ("wq", "wk", "wv")]),
            "attn.c_attn.bias": np.hstack([own[f"{name}_bias"] for name in ("wq", "wk", "wv")]),
            "attn.c_proj.weight": own["wo"].T, "attn.c_proj.bias": own["wo_bias"],
            "ln_2.weight": own["ffn_norm"], "ln_2.bias": own["ffn_norm_bias"],
            "mlp.c_fc.weight": own["w1"].T, "mlp.c_fc.bias": own["w1_bias"],
            "mlp.c_proj.weight": own["w2"].T, "mlp.c_proj.bias": own["w2_bias"],
            "attn.bias": np.tril(np.ones((1, 1, config.seq_len, config.seq_len), np.float32)),
            "attn.masked_bias": np.float32(-1e4)}.items()}
    tensors |= {f"{prefix}wte.weight": model["embedding"], f"{prefix}wpe.weight": model["positions"],
                f"{prefix}ln_f.weight": model["final_norm"], f"{prefix}ln_f.bias": model["final_norm_bias"]}
    if not config.tied:
        tensors["lm_head.weight"] = model["classifier"]
    folder.mkdir(exist_ok=True)
    save_file({name: np.ascontiguousarray(values) for name, values in tensors.items()}, folder / "model.safetensors")
    about = {"model_type": "gpt2", "n_embd": config.dim, "n_layer": config.n_layers, "n_head": config.n_heads,
             "n_positions": config.seq_len, "n_inner": None, "vocab_size": config.vocab_size, "bos_token_id": 0,
             "eos_token_id": 0, "activation_function": "gelu_new", "layer_norm_epsilon": config.norm_eps,
             "tie_word_embeddings": config.tied}
    (folder / "config.json").write_text(json.dumps(about | changes))
    return folder


def equal(one, other):
    assert one.config == other.config and one.weights.keys() == other.weights.keys()
    for name, values in one.weights.items():
        assert np.array_equal(values, other[name]), name


@pytest.mark.parametrize("prefix", ["transformer.", ""])
@pytest.mark.parametrize("tied", [True, False])
def test_a_folder_as_transformers_writes_it(tmp_path, prefix, tied):
    model = tiny_model(replace(SMALL, tied=tied))
    folder = convert(tmp_path / "m", model, prefix)
    equal(load_model(folder), model)
    assert load_shape(folder) == model.config


@settings(max_examples=20, deadline=None)
@given(heads=st.integers(1, 4), pairs=st.integers(1, 6), hidden=st.integers(1, 70), layers=st.integers(1, 3),
       tied=st.booleans(), eps=st.sampled_from([1e-5, 1e-6]))
def test_written_and_read(tmp_path_factory, heads, pairs, hidden, layers, tied, eps):
    """Any shape; the reader takes what the writer makes, with the same logits bit for bit."""
    folder = tmp_path_factory.mktemp("m")
    config = replace(SMALL, dim=2 * pairs * heads, hidden_dim=hidden, n_layers=layers, n_heads=heads, n_kv_heads=heads,
                     tied=tied, norm_eps=eps)
    model = tiny_model(config)
    huggingface.write(folder, model, byte_level("gpt-2"))
    equal(load_model(folder), model)
    assert_same(model, load_model(folder))
    assert load_tokenizer(None, folder, 400).encode(TEXT) == byte_level("gpt-2").encode(TEXT)


@pytest.mark.parametrize(("changes", "word"), [
    ({"activation_function": "relu"}, "gelu_new"), ({"activation_function": "gelu"}, "activation_function"),
    ({"scale_attn_weights": False}, "scale_attn_weights"), ({"add_cross_attention": True}, "add_cross_attention"),
    ({"scale_attn_by_inverse_layer_idx": True}, "inverse_layer_idx"), ({"n_head": 3}, "divide"), ({"n_embd": None}, "n_embd"),
    ({"n_inner": 64}, "expected (32, 64)"), ({"n_positions": 17}, "expected (17, 32)"), ({"layer_norm_epsilon": 0}, "norm_eps"),
    ({"eos_token_id": 400}, "token 400"), ({"n_layer": 3}, "h.2.ln_1.weight is missing"), ({"n_layer": 1}, "h.1."),
])
def test_what_cannot_be_done(tmp_path, changes, word):
    folder = convert(tmp_path / "m", tiny_model(SMALL), **changes)
    for read in (load_model, load_shape):
        with pytest.raises(FormatError) as caught:
            read(folder)
        assert word in str(caught.value) and "\n" not in str(caught.value), caught.value


def test_either_name_of_the_activation(tmp_path):
    equal(load_model(convert(tmp_path / "m", tiny_model(SMALL), activation_function="gelu_pytorch_tanh")), tiny_model(SMALL))


def test_other_formats_have_no_place_for_it(tmp_path):
    for write in (lambda: gguf.write(tmp_path / "m.gguf", tiny_model(SMALL), byte_level("gpt-2")),
                  lambda: llama2c.write(tmp_path / "m.bin", tiny_model(SMALL))):
        with pytest.raises(FormatError, match=r"gpt2.*folder"):
            write()


def two_files(folder, tokenizer, version=True):
    """GPT-2's own two files of a tokenizer, in the place of its `tokenizer.json`."""
    about = json.loads(tokenizer.to_json())["model"]
    (folder / "vocab.json").write_text(json.dumps(tokenizer.vocabulary()))
    lines = ["#version: 0.2"] * version + [" ".join(merge) for merge in about["merges"]]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("version", [True, False])
def test_a_tokenizer_in_two_files(tmp_path, version):
    folder, tokenizer = convert(tmp_path / "m", tiny_model(SMALL)), byte_level("gpt-2")
    two_files(folder, tokenizer, version)
    found = load_tokenizer(None, folder, 400)
    for text in ("Once upon a time, 12 you're  é 你", "a<|endoftext|>b", ""):
        assert found.encode(text) == tokenizer.encode(text) and found.decode(found.encode(text)) == tokenizer.decode(
            tokenizer.encode(text))


def test_two_files_that_do_not_do(tmp_path):
    folder, tokenizer = convert(tmp_path / "m", tiny_model(SMALL)), byte_level("gpt-2")
    two_files(folder, tokenizer)
    (folder / "merges.txt").write_text("#version: 0.2\na b c\n")
    with pytest.raises(FormatError, match=r"merges.txt: expected two pieces"):
        load_tokenizer(None, folder, 400)
    (folder / "merges.txt").write_text("no such\n")
    with pytest.raises(FormatError, match=r"merges.txt: its merge 'no such'"):
        load_tokenizer(None, folder, 400)
    (folder / "merges.txt").unlink()
    with pytest.raises(FormatError, match=r"merges.txt: no such file"):
        load_tokenizer(None, folder, 400)
    (folder / "vocab.json").write_text('{"a": 0, "b": 2}')
    with pytest.raises(FormatError, match="not the numbers from 0 to 1"):
        load_tokenizer(None, folder, 400)


def test_two_files_of_another_family_are_not_taken(tmp_path):
    """Other families cut words otherwise, so their tokens would be wrong."""
    folder = convert(tmp_path / "m", tiny_model(SMALL))
    two_files(folder, byte_level("gpt-2"))
    about = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(about | {"model_type": "llama"}))
    with pytest.raises(FormatError, match=r"tokenizer.json: no such file"):
        load_tokenizer(None, folder, 400)


def test_tensors_are_named_as_transformers_names_them(tmp_path):
    huggingface.write(tmp_path / "m", tiny_model(replace(SMALL, tied=False)), byte_level("gpt-2"))
    names = load_file(tmp_path / "m" / "model.safetensors").keys()
    written = load_file(convert(tmp_path / "t", tiny_model(replace(SMALL, tied=False))) / "model.safetensors").keys()
    assert names == {name for name in written if not name.endswith((".attn.bias", "masked_bias"))}


def test_a_folder_as_the_tokenizer_of_another_model(tmp_path):
    folder, tokenizer = convert(tmp_path / "m", tiny_model(SMALL)), byte_level("gpt-2")
    two_files(folder, tokenizer)
    assert load_tokenizer(folder, tmp_path / "other.gguf", 400).encode(TEXT[:9]) == tokenizer.encode(TEXT[:9])
