"""Models that people run are read as what they are, from their own `config.json`."""

import numpy as np
import pytest

from marey.sw.formats import load_model, load_shape
from marey.sw.model.families import graph_of
from marey.sw.model.reference import Reference
from tests.real_models import MODELS, config_folder, cut_folder
from tests.sw.commands import refused

MACS = {
    "TinyLlama-1.1B-Chat-v1.0": 1034, "Llama-2-7b": 6607, "Meta-Llama-3-8B-Instruct": 7504, "Llama-3.2-1B-Instruct": 1236,
    "SmolLM2-135M-Instruct": 134, "SmolLM2-1.7B-Instruct": 1711, "Mistral-7B-Instruct-v0.1": 7110,
    "Mistral-7B-Instruct-v0.3": 7113, "Qwen2.5-0.5B-Instruct": 494, "Qwen3-0.6B": 596, "gpt2": 124}
"""Millions of multiply-accumulates of a token at position 0: the weights of a model's matrices, each once."""


@pytest.mark.parametrize("name", MODELS)
def test_shapes(tmp_path, name):
    shape = load_shape(config_folder(tmp_path, name))
    assert graph_of(shape).macs(-1) / 1e6 == pytest.approx(MACS[name], abs=1)
    assert shape.head_dim == (128 if any(word in name for word in ("7", "8B", "Qwen3")) and "1.7B" not in name else 64)


def test_contexts_and_end_tokens(tmp_path):
    """The context is the window's where there is one; several end tokens are all heeded."""
    shapes = {name: load_shape(config_folder(tmp_path / name, name)) for name in MODELS}
    assert shapes["Mistral-7B-Instruct-v0.1"].seq_len == 4096 and shapes["Mistral-7B-Instruct-v0.3"].seq_len == 32768
    assert shapes["Qwen2.5-0.5B-Instruct"].seq_len == 32768 and shapes["Qwen3-0.6B"].seq_len == 40960
    assert shapes["Llama-3.2-1B-Instruct"].eos == (128001, 128008, 128009)
    factors = shapes["Llama-3.2-1B-Instruct"].rope_factors
    assert factors[0] == 1 and factors[-1] == 32 and list(factors) == sorted(factors)


@pytest.mark.parametrize("name", ["SmolLM2-135M-Instruct", "Qwen3-0.6B"])
def test_folders_of_real_shapes(tmp_path, name):
    """They are read, weights and all."""
    model = load_model(cut_folder(tmp_path / "m", name, **({"intermediate_size": 64})))
    assert np.isfinite(Reference(model).step(np.array([1]), 0)).all()


@pytest.mark.parametrize("kind", ["gemma2", "phi3", "mixtral", "qwen2_moe", "deepseek_v3", "mamba"])
def test_other_kinds_are_refused_by_name(tmp_path, kind):
    folder = config_folder(tmp_path, "Llama-2-7b", model_type=kind)
    refused("fit", folder, word=f'model_type is "{kind}", and Marey reads llama')
