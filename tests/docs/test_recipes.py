"""The code in docs/recipes/model-family.md is the family Qwen2, and runs on the tile, with heads of any width."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from marey.hdl.spec.config import Config
from marey.sim.backends import open_transport
from marey.sw.compiler.compile import compile_quantised
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.model.families import qwen2
from marey.sw.model.reference import Reference
from marey.sw.quant.golden import Golden
from marey.sw.quant.quantise import quantise
from marey.sw.runtime.driver import Device
from tests.configs import INT4, ONE_PORT, ROOMY
from tests.docs.pages import ROOT, blocks
from tests.greedy import greedy_steps
from tests.pins import STREAMED

SHAPE = ModelConfig(dim=32, hidden_dim=44, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=50, seq_len=40, family="qwen2",
                    head_width=12)


def test_the_recipe_is_the_module():
    (code,) = blocks(ROOT / "docs" / "recipes" / "model-family.md", "python")
    assert code.strip() == Path(qwen2.__file__).read_text().strip()


def test_the_biases_count():
    """The model is another one without its biases, and its integers are near its floats."""
    model = tiny_model(SHAPE)
    logits = [Reference(model).step(np.array([1]), 0)]
    for name in ("wq_bias", "wv_bias"):
        model.weights[f"layers.0.{name}"][:] += 1
        logits.append(Reference(model).step(np.array([1]), 0))
    # At position 0 attention has one score, so the queries' biases do not count; the values' do.
    assert np.array_equal(logits[0], logits[1]) and not np.allclose(logits[1], logits[2])
    # Logits are near 1 here, and int8 is good for two digits.
    assert np.abs(Golden(quantise(model)).step(np.array([1]), 0) - logits[2]).max() < 0.5


@cache
def integers(bits):
    """The integer model of the recipe's family; its heads are wider than dim / heads."""
    return quantise(tiny_model(SHAPE), bits)


@pytest.mark.parametrize("config", [ROOMY[0], INT4[0], ONE_PORT[0], STREAMED[0]], ids=["int8", "int4", "one port", "streamed"])
def test_the_recipe_runs(config: Config):
    model = integers(config.weight_bits)
    assert all(model.linear(name).bias.any() for name in ("qk", "v"))
    program = compile_quantised(model, config)
    with Device(open_transport(config, "emulator"), config) as device:
        device.load(program)
        cycles = [cycles for _, cycles in greedy_steps(program, model, device, 12)]
    assert cycles == [program.cycles(position) for position in range(12)]
