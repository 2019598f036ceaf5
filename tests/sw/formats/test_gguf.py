"""GGUF files: what llama2.c's format says, they say; what is damaged is refused in one line and
bounded memory.
"""

from dataclasses import replace

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFWriter, quants
from gguf.constants import MODEL_ARCH, MODEL_TENSOR, MODEL_TENSORS, TENSOR_NAMES, RopeScalingType

from marey.sw.errors import FormatError
from marey.sw.formats import gguf, gguf_blocks, load_model, load_tokenizer
from marey.sw.formats.gguf_tensors import LAYER_TENSORS
from marey.sw.formats.tiny import tiny_model, tiny_tokenizer
from marey.sw.model.config import ModelConfig

SMALL = ModelConfig(dim=32, hidden_dim=44, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=270, seq_len=16, tied=False)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("g") / "small.gguf"
    gguf.write(path, tiny_model(SMALL), tiny_tokenizer(SMALL.vocab_size))
    return path


@pytest.mark.parametrize("tied", [True, False])
def test_round_trip(tmp_path, tied):
    config = ModelConfig(dim=32, hidden_dim=44, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=270, seq_len=16,
                         tied=tied, rope_theta=50000.0, norm_eps=1e-6)
    model, tokenizer = tiny_model(config), tiny_tokenizer(270)
    gguf.write(tmp_path / "m.gguf", model, tokenizer)
    read = load_model(tmp_path / "m.gguf")
    assert read.config == config
    assert read.weights.keys() == model.weights.keys()
    assert all(np.array_equal(model[name], read[name]) for name in model.weights)
    found = load_tokenizer(None, tmp_path / "m.gguf", 270)
    assert found.encode("once upon a hé") == tokenizer.encode("once upon a hé")


KINDS = ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4"]
"""What the library can make of float32; to read, it knows more."""


@pytest.mark.parametrize("kind", KINDS)
def test_types_of_tensors(tmp_path, kind):
    """What the library dequantises is read as it dequantises it."""
    kind = GGMLQuantizationType[kind]
    config = replace(SMALL, dim=256, hidden_dim=256, n_layers=1)
    model, writer = tiny_model(config), GGUFWriter(tmp_path / "m.gguf", "llama")
    metadata(writer, embedding_length=256, feed_forward_length=256, context_length=16)
    writer.add_token_list([f"t{n}" for n in range(config.vocab_size)])
    wanted = {"token_embd": model["embedding"], "output": model["classifier"], "output_norm": model["final_norm"],
              **{TENSOR_NAMES[tensor].format(bid=0): model[f"layers.0.{name}"]
                 for name, tensor in LAYER_TENSORS.items()}}
    for name, values in wanted.items():
        encoded = quants.quantize(values, kind if values.ndim == 2 else GGMLQuantizationType.F32)
        writer.add_tensor(f"{name}.weight", encoded, raw_dtype=kind if values.ndim == 2 else GGMLQuantizationType.F32)
        wanted[name] = quants.dequantize(encoded, kind) if values.ndim == 2 else values
    close(writer)
    read = load_model(tmp_path / "m.gguf")
    for name, tensor in LAYER_TENSORS.items():
        assert np.array_equal(read[f"layers.0.{name}"], wanted[TENSOR_NAMES[tensor].format(bid=0)]), name
    assert np.array_equal(read["embedding"], wanted["token_embd"]) and np.array_equal(read["classifier"], wanted["output"])


def test_names_are_the_librarys_for_this_architecture():
    ours = {*LAYER_TENSORS.values(), MODEL_TENSOR.TOKEN_EMBD, MODEL_TENSOR.OUTPUT, MODEL_TENSOR.OUTPUT_NORM}
    assert ours <= set(MODEL_TENSORS[MODEL_ARCH.LLAMA])
    assert TENSOR_NAMES[LAYER_TENSORS["w2"]] == "blk.{bid}.ffn_down"


def refused(path, *words):
    with pytest.raises(FormatError) as caught:
        load_model(path)
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in words), message


def written(path, architecture="llama", skip=(), **changes):
    """A GGUF file with metadata changed or left out, and no tensors."""
    writer = GGUFWriter(path, architecture)
    metadata(writer, skip, **changes)
    writer.add_token_list([f"t{n}" for n in range(300)])
    close(writer)
    return path


def metadata(writer, skip=(), **changes):
    values = {"context_length": 16, "embedding_length": 32, "block_count": 1, "feed_forward_length": 44, "head_count": 4,
              "head_count_kv": 2, "layer_norm_rms_eps": 1e-5} | changes
    for name, value in values.items():
        if name not in skip:
            getattr(writer, f"add_{name}")(value)


def close(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize(("arguments", "words"), [
    ({"architecture": "gpt2"}, ["'gpt2'", "'llama'"]),
    ({}, ["no tensors", "missing"]),
    ({"skip": ["head_count"]}, ["no llama.attention.head_count"]),
    ({"head_count": 5}, ["do not divide"]), ({"embedding_length": 0}, ["dim = 0"]),
    ({"block_count": 1 << 30}, ["n_layers"]), ({"layer_norm_rms_eps": float("nan")}, ["norm_eps"]),
    ({"rope_dimension_count": 4}, ["rope.dimension_count is 4", "8 channels"]),
    ({"key_length": 16, "value_length": 8}, ["attention.value_length is 8", "16 channels"]),
    ({"key_length": 7}, ["which do not divide"]), ({"expert_count": 8}, ["llama.expert_count is '8'"]),
    ({"sliding_window": 0}, ["llama.attention.sliding_window is 0"]), ({"logit_scale": 2.0}, ["llama.logit_scale"]),
    ({"bos_token_id": 300}, ["token 300"]), ({"head_count_kv": [2, 2]}, ["n_kv_heads = [2, 2]"]),
    ({"rope_scaling_type": RopeScalingType.YARN}, ["llama.rope.scaling.type is 'yarn'"]),
    ({"rope_scaling_factor": -2.0}, ["llama.rope.scaling.factor"]), ({"rope_freq_base": 0.0}, ["rope_theta"]),
])
def test_metadata_that_do_not_do(tmp_path, arguments, words):
    refused(written(tmp_path / "m.gguf", **arguments), *words)


def test_q4_0_keeps_what_lies_on_its_grid(tmp_path):
    """Whole numbers of a step come back as they were, and no block comes back worse than from the
    library's encoder.
    """
    rng = np.random.default_rng(3)
    step = np.float32(np.float16(0.0137))
    grid = rng.integers(-7, 8, (4, 96)).astype(np.float32) * step
    other = rng.standard_normal((4, 96)).astype(np.float32)
    for values, most in ((grid, 0), (other, None)):
        found = quants.dequantize(gguf_blocks.q4_0(values), GGMLQuantizationType.Q4_0)
        theirs = quants.dequantize(quants.quantize(values, GGMLQuantizationType.Q4_0), GGMLQuantizationType.Q4_0)
        errors = [np.square(each - values).reshape(-1, 32).sum(axis=1) for each in (found, theirs)]
        assert (errors[0] <= errors[1] + 1e-6).all() and (most is None or errors[0].max() == most)


@pytest.mark.parametrize("name", ["rope_factors_long.weight", "blk.0.attn_q.bias", "blk.0.ffn_gate_inp.weight"])
def test_a_tensor_more_than_a_llama_has(tmp_path, monkeypatch, name):
    """Llama 3's table of frequencies, a bias, a mixture of experts: another model than it seems."""
    written = GGUFWriter.write_header_to_file

    def more(writer):
        writer.add_tensor(name, np.ones(4, np.float32))
        written(writer)

    monkeypatch.setattr(GGUFWriter, "write_header_to_file", more)
    gguf.write(tmp_path / "m.gguf", tiny_model(SMALL), tiny_tokenizer(SMALL.vocab_size))
    refused(tmp_path / "m.gguf", name, "no model that Marey")


def test_a_tokenizer_of_another_kind(tmp_path):
    writer_path = written(tmp_path / "m.gguf", tokenizer_model="t5")
    with pytest.raises(FormatError, match="'t5'"):
        load_tokenizer(None, writer_path, 300)


def test_not_a_number(small, tmp_path):
    model = tiny_model(SMALL)
    model["layers.1.w2"][3, 4] = np.nan
    gguf.write(tmp_path / "nan.gguf", model, tiny_tokenizer(SMALL.vocab_size))
    refused(tmp_path / "nan.gguf", "blk.1.ffn_down.weight", "NaN")


def test_absurd_counts_end_soon(tmp_path, small):
    content = small.read_bytes()
    for at in (8, 16, 24):
        (tmp_path / "absurd.gguf").write_bytes(content[:at] + b"\xff" * 7 + b"\x7f" + content[at + 8:])
        refused(tmp_path / "absurd.gguf", "damaged")
