"""The integers of feed-forward networks."""

import numpy as np
import pytest

from marey.hdl.spec.errors import MareyError
from marey.sw.model.graph import Kind, Number, Value
from marey.sw.model.network import Network, Weights
from marey.sw.model.network_reference import run
from marey.sw.quant.network import GATE_RANGE, quantise_network
from marey.sw.quant.network_golden import golden, relu
from tests.networks import every_kind, linear, operation, with_weights


@pytest.mark.parametrize("gate", ["silu", "gelu", "gelu_erf"])
def test_integers_are_near_the_floats(gate):
    model = with_weights(every_kind(40, 48, gate), 1)
    x = np.random.default_rng(2).normal(size=(200, 40))
    integers = quantise_network(model, x)
    found, exact = integers.floats(golden(integers, integers.integers(x))), run(model, x)
    # Three products of int8 vectors, one behind the other.
    assert np.abs(found - exact).max() < 0.03 * np.abs(exact).max()
    assert np.sqrt(((found - exact) ** 2).mean()) < 0.02 * exact.std()


def test_a_relu_is_exact_but_for_a_step_below_0():
    x = np.arange(-32768, 32768)
    low = np.clip(x - 32767, -32768, 32767)
    assert np.array_equal(np.clip(low + 32767, -32768, 32767), relu(x))
    assert np.array_equal(relu(x)[x >= 0], x[x >= 0]) and set(relu(x)[x < 0]) == {-1}


def test_both_operands_of_a_sum_have_one_unit_and_no_value_saturates():
    model = with_weights(every_kind(8, 8))
    x = np.random.default_rng(3).normal(size=(50, 8)) * 4
    bits = quantise_network(model, x).bits
    assert bits["sum"] == bits["second"] == bits["relu"] == bits["first"] == bits["silu"] == 9
    largest = {}
    run(model, x, lambda name, value: largest.update({name: np.abs(value).max()}))
    assert all(largest[name] * 2.0 ** bits[name] < 32767 for name in bits)


def test_values_that_a_gate_cannot_read_are_refused():
    network = Network(
        Value("in", 4, Number.WIDE), (operation(Kind.ACTIVATE, "silu", ["in"], 4, function="silu"),)
    )
    model = Weights(network, {})
    quantise_network(model, np.full((1, 4), GATE_RANGE))
    with pytest.raises(MareyError, match="reaches 65"):
        quantise_network(model, np.full((1, 4), 65.0))
    with pytest.raises(MareyError, match="not finite"):
        quantise_network(model, np.full((1, 4), np.inf))


def test_inputs_beyond_the_examples_saturate():
    network = Network(Value("in", 3, Number.WIDE), (linear("out", "in", 2),))
    integers = quantise_network(with_weights(network), np.ones((1, 3)))
    assert np.abs(integers.integers(np.array([[1e9, -1e9, 0.0]]))).max() == 32768
