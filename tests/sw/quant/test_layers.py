"""`marey eval --layers`: what saturates is counted where it does, and errors are those of the residual."""

import json
from dataclasses import replace

import numpy as np
import pytest

from marey.hdl.spec.integer import saturate
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.quant.golden import Golden
from marey.sw.quant.layers import layers
from marey.sw.quant.quantise import quantise
from marey.sw.views.evaluate import layer_lines
from tests.outliers import outlier_model
from tests.sw.commands import marey

SHAPE = ModelConfig(dim=32, hidden_dim=44, n_layers=3, n_heads=4, n_kv_heads=2, vocab_size=270, seq_len=40)
TOKENS = np.random.default_rng(0).integers(0, 270, (2, 20))


@pytest.mark.parametrize("kind", ["plain", "balanced", "gpt2"])
def test_a_sound_model(kind):
    shape = replace(SHAPE, family="gpt2", n_kv_heads=4) if kind == "gpt2" else SHAPE
    model = outlier_model(shape) if kind == "balanced" else tiny_model(shape)
    integers = quantise(model)
    assert integers.balanced == (kind == "balanced")
    found = layers(model, integers, TOKENS)
    assert [each["layer"] for each in found] == ["begin", 0, 1, 2, "end"] and found[-1]["error"] is None
    assert all(each["error"] < 0.1 for each in found[:-1]) and found[0]["error"] < 0.02


def test_what_saturates_is_counted():
    """A matrix whose results are 64 times too large in one layer: the count there is that of Python's own integers, and the
    error begins there."""
    model = tiny_model(SHAPE)
    sound = quantise(model)
    name, factor = "layers.1.w1", 1 << 6
    gate = sound.linears[name]
    damaged = replace(sound, linears=sound.linears | {name: replace(gate, shift=gate.shift - 6)})
    found = layers(model, damaged, TOKENS)
    by_layer = {each["layer"]: each for each in found}
    assert {layer for layer, each in by_layer.items() if "w1" in each["saturated"]} == {1}
    golden, results = Golden(sound, 2), []
    golden._watch = type("Watch", (), {"made": lambda _, layer, name, value: (
        results.append(value) if (layer, name) == (1, "gate") else None), "limited": lambda *_: None})()
    golden.texts(TOKENS, 0)
    many = results[0] * factor
    counted = by_layer[1]["saturated"]["w1"]
    assert counted["of"] == results[0].size == 2 * 20 * 44
    # The results of the sound model are rounded, so those near the limit may be on either side.
    assert abs(counted["count"] - np.count_nonzero(saturate(many, 16) != many)) <= 0.02 * counted["of"] < counted["count"]
    assert by_layer[0]["error"] < 0.05 < 0.5 < by_layer[1]["error"]
    assert any("w1 " in line for line in layer_lines(found)) and len(layer_lines(found)) == 6


def test_the_command(tiny, tmp_path):
    (tmp_path / "text").write_text("once upon a time there was a dog. " * 8)
    result = json.loads(marey("eval", tiny, "--text", tmp_path / "text", "--quant", "int8", "--layers", "--json").stdout)
    assert [each["layer"] for each in result["int8"]["layers"]] == ["begin", 0, 1, "end"]
