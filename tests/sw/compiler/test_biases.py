"""Biases of matrices whose inputs, or weights, are in groups: the first group gets the bias, and the others add to its sums.
"""

from dataclasses import replace

import pytest

from marey.hdl.spec.config import preset
from marey.sim.endpoint import Endpoint
from marey.sw.compiler.compile import compile_quantised
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.quant.quantise import quantise
from marey.sw.runtime.driver import Device
from tests.configs import INT4, ONE_PORT
from tests.greedy import greedy_steps
from tests.outliers import outlier_model

SHAPE = ModelConfig(dim=192, hidden_dim=192, n_layers=2, n_heads=6, n_kv_heads=3, vocab_size=40, seq_len=20, family="qwen2")
BITS8 = replace(preset("sim8x8"), wram_depth=40_000)
BITS4 = replace(preset("sim8x8_int4"), wram_depth=40_000)


@pytest.mark.parametrize(("config", "bits"), [(BITS8, 8), (BITS4, 4)])
def test_of_a_balanced_model(config, bits):
    """Two groups of inputs, each with a scalar; or groups of weights with offsets besides."""
    model = quantise(outlier_model(SHAPE), bits)
    assert model.balanced and any(each.output.groups > 1 for each in model.graph.layer)
    golden(model, config)


@pytest.mark.parametrize("config", [INT4[0], INT4[3], ONE_PORT[1], ONE_PORT[3]], ids=lambda config: config.name)
@pytest.mark.parametrize("static", [False, True])
def test_of_weights_in_groups(config, static):
    """Matrices of 4 bits, also where inputs have no scalars."""
    shape = replace(SHAPE, dim=32, hidden_dim=44, n_heads=4, n_kv_heads=2)
    model = quantise(tiny_model(shape), 4, cache_bits=config.cache_bits, static=static)
    assert not model.balanced
    golden(model, config)


def golden(model, config):
    """The tile computes the golden integers, for three tokens."""
    with Device(Endpoint(config), config) as device:
        program = compile_quantised(model, config)
        device.load(program)
        assert len(list(greedy_steps(program, model, device, 3))) == 3
