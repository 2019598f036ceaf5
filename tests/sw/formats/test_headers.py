"""The shape reader refuses, from headers alone, every model that the reader refuses without a look
at the values.

`marey fit` uses the one and `marey generate` the other; they must agree.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFWriter
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from marey.sw.errors import FormatError
from marey.sw.formats import gguf, huggingface, llama2c, load_model, load_shape
from marey.sw.formats.tiny import tiny_model, tiny_tokenizer
from marey.sw.model.families import weight_shapes
from tests.sw.formats.test_gguf import close, metadata
from tests.sw.formats.test_huggingface import SMALL, convert

TOKENIZER = tiny_tokenizer(SMALL.vocab_size)


def refused(path, *words):
    """Both readers refuse it with the same line, which has these words."""
    lines = []
    for read in (load_model, load_shape):
        with pytest.raises(FormatError) as caught:
            read(path)
        lines.append(str(caught.value))
    assert lines[0] == lines[1] and "\n" not in lines[0] and all(word in lines[0] for word in words), lines


def changed(draw, tensors):
    """Tensors with one missing, renamed, of another shape, or more than there should be; and its
    name.
    """
    name = draw(st.sampled_from(sorted(tensors)))
    values, change = tensors[name], draw(st.sampled_from(["missing", "renamed", "shape", "more"]))
    tensors = dict(tensors)
    if change != "more":
        del tensors[name]
    match change:
        case "renamed":
            tensors[name.replace("e", "a", 1)] = values
        case "shape":
            tensors[name] = np.ones((*values.shape[:-1], values.shape[-1] + 2), np.float32)
        case "more":
            name = name.rpartition(".")[0] + draw(st.sampled_from([".scale", ".bias_more", "_norm.weight"]))
            tensors[name] = np.ones(32, np.float32)
    return tensors, name


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_tensor_that_is_wrong_in_a_folder(tmp_path_factory, family, data):
    folder = tmp_path_factory.mktemp("m")
    config = replace(SMALL, tied=False, family=family, n_kv_heads=4 if family == "gpt2" else 2)
    huggingface.write(folder, tiny_model(config), TOKENIZER)
    tensors, name = changed(data.draw, load_file(folder / "model.safetensors"))
    save_file(tensors, folder / "model.safetensors")
    refused(folder, name.removeprefix("transformer."))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_tensor_that_is_wrong_in_a_gguf_file(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("m") / "m.gguf"
    config = replace(SMALL, tied=True)  # without it a missing classifier is a tied model
    tensors, name = changed(data.draw, {gguf.tensor_name(name): np.ones(shape, np.float32)
                                        for name, shape in weight_shapes(config).items()})
    writer = GGUFWriter(path, "llama")
    metadata(writer, embedding_length=32, feed_forward_length=44, block_count=2)
    writer.add_token_list([f"t{n}" for n in range(config.vocab_size)])
    for each, values in tensors.items():
        writer.add_tensor(each, values, raw_dtype=GGMLQuantizationType.F32)
    close(writer)
    refused(path, name)


@settings(max_examples=25, deadline=None)
@given(size=st.integers(29, 60_000))
def test_a_llama2c_checkpoint_that_is_cut_off(tmp_path_factory, size):
    folder = tmp_path_factory.mktemp("m")
    llama2c.write(folder / "m.bin", tiny_model(SMALL))
    content = (folder / "m.bin").read_bytes()
    assert len(content) > 60_000
    (folder / "m.bin").write_bytes(content[:size])
    refused(folder / "m.bin", "truncated")


def test_headers_without_weights_are_shapes(tmp_path):
    """A configuration alone, or with an index of files that are not there; the reader says that the
    weights are missing.
    """
    folder = convert(tmp_path / "m", tiny_model(SMALL), TOKENIZER, shards=3)
    for file in folder.glob("*.safetensors"):
        file.unlink()
    assert load_shape(folder) == load_shape(folder / "config.json") == SMALL
    with pytest.raises(FormatError, match=r"safetensors: this file of weights is missing: .* names 3 files, and 3 are not"):
        load_model(folder)
    (folder / "model.safetensors.index.json").unlink()
    assert load_shape(folder) == SMALL
    with pytest.raises(FormatError, match=r"its weights are missing: no model.safetensors"):
        load_model(folder / "config.json")


@pytest.mark.parametrize("number", range(3))
def test_a_missing_shard_is_called_missing(tmp_path, number):
    folder = convert(tmp_path / "m", tiny_model(SMALL), TOKENIZER, shards=3)
    (folder / f"model-{number}.safetensors").unlink()
    refused(folder, f"model-{number}.safetensors: this file of weights is missing", "names 3 files, and 1 are not")


def test_a_tensor_that_its_shard_lacks(tmp_path):
    folder = convert(tmp_path / "m", tiny_model(SMALL), TOKENIZER, shards=2)
    index = folder / "model.safetensors.index.json"
    where = json.loads(index.read_text())["weight_map"]
    file = where["model.norm.weight"]
    save_file({name: values for name, values in load_file(folder / file).items() if name != "model.norm.weight"},
              folder / file)
    refused(folder, file, "tensor model.norm.weight is missing from this file")


def test_weights_in_another_format_are_named(tmp_path):
    folder = convert(tmp_path / "m", tiny_model(SMALL), TOKENIZER)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(folder, "does not read pytorch_model.bin: convert it to safetensors")


@pytest.mark.parametrize("path", ["no.bin", "no.gguf", "no", "no/config.json"])
def test_a_missing_file_is_called_missing(tmp_path, path):
    refused(tmp_path / path, "no such file")
