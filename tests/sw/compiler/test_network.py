"""Feed-forward networks on the tile: for networks and tiles of any shape, results equal the golden
model's, in the predicted cycles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.hdl.spec.config import Config, preset
from marey.hdl.spec.errors import MareyError
from marey.sim.endpoint import Endpoint
from marey.sim.pysim import open_tile
from marey.sw.compiler.layout import CompileError
from marey.sw.compiler.network import compile_network
from marey.sw.model.graph import Number, Value
from marey.sw.model.network import Network
from marey.sw.model.network_reference import run as reference
from marey.sw.quant.network import quantise_network
from marey.sw.quant.network_golden import golden
from marey.sw.runtime.driver import Device
from marey.sw.runtime.network import NetworkRunner
from tests.configs import ONE_PORT, ROOMY
from tests.networks import attending, every_kind, linear, networks, with_weights

TILES = [*ROOMY, *(config for config in ONE_PORT if config.weight_bits == 8),
         Config(name="c8", rows=4, cols=4, lanes=1, wram_depth=4096, mem_depth=1024, compact=1)]
"""Tiles whose weights have 8 bits; the last one is compact."""


def run(network, config, seed, connect=Endpoint, count=2):
    """Runs a network with random weights and inputs; returns (program, results of the tile, the
    golden model's)."""
    rng, model = np.random.default_rng(seed), with_weights(network, seed)
    x = (
        rng.integers(0, 20, 9)
        if network.source.number is Number.INDEX
        else rng.normal(size=(9, network.source.size))
    )
    integers = quantise_network(model, x)
    program, layout = compile_network(integers, config, "network")
    whole = integers.integers(x[:count])
    with Device(connect(config), config) as device:
        found = NetworkRunner(device, program, layout, integers).run(whole)
        tally = device.tally
    assert tally.measured == tally.predicted == count * program.cycles(wanted=False)
    return program, found, golden(integers, whole)


@settings(max_examples=10, deadline=None)
@given(network=networks(), config=st.sampled_from(TILES), seed=st.integers(0, 1000))
def test_drawn_networks(network, config, seed):
    try:
        _, found, expected = run(network, config, seed)
    except MareyError as error:  # values that a gate cannot read, and tiles that are too small
        assert "reaches" in str(error) or "no unit of" in str(error) or isinstance(error, CompileError)
        return
    assert np.array_equal(found, expected)


@pytest.mark.slow  # Amaranth's simulator; the digits of tests/sw/modules are on Verilator
@pytest.mark.parametrize(
    "config",
    [Config(name="g4", rows=4, cols=4, lanes=2, wram_depth=256, mem_depth=256, gelu=1)],
    ids=lambda config: config.name,
)
def test_the_rtl_runs_every_kind_of_operation(config):
    for gate in ("silu", "gelu"):
        _, found, expected = run(every_kind(7, 6, gate), config, 5, open_tile, count=1)
        assert np.array_equal(found, expected)


def attend(network, config, seed, connect=Endpoint, batch=2, length=None):
    """Like `run`, for sequences."""
    rng, model, length = np.random.default_rng(seed), with_weights(network, seed), length or network.positions
    x = (rng.integers(0, 20, (5, network.positions)) if network.source.number is Number.INDEX
         else rng.normal(size=(5, network.positions, network.source.size)))
    integers = quantise_network(model, x)
    program, layout = compile_network(integers, config, "attention")
    whole = integers.integers(x[:batch, :length])
    with Device(connect(config), config) as device:
        found = NetworkRunner(device, program, layout, integers).run(whole)
        tally = device.tally
    assert tally.measured == tally.predicted == batch * sum(
        program.cycles(position, wanted=False) for position in range(length))
    return model, x, integers, found, golden(integers, whole)


@settings(max_examples=8, deadline=None)
@given(heads=st.integers(1, 4), head=st.sampled_from([1, 3, 4, 6, 8, 12]), positions=st.integers(1, 20),
       index=st.booleans(), config=st.sampled_from(TILES), seed=st.integers(0, 1000))
def test_attention_of_any_shape(heads, head, positions, index, config, seed):
    network = attending(heads, head, positions, index)
    try:
        _, _, _, found, expected = attend(network, config, seed, batch=1)
    except CompileError:  # tiles that are too small
        return
    assert np.array_equal(found, expected)


def test_attention_is_near_its_floats():
    model, x, integers, found, _ = attend(attending(4, 8, 16), preset("sim8x8"), 3)
    exact = reference(model, x[:2])
    assert np.abs(integers.floats(found) - exact).max() < 0.03 * np.abs(exact).max()


@pytest.mark.slow  # Amaranth's simulator; the characters of tests/sw/modules are on Verilator
def test_the_rtl_attends(tile=Config(name="g4", rows=4, cols=4, lanes=2, wram_depth=256, mem_depth=256)):
    _, _, _, found, expected = attend(attending(2, 3, 5), tile, 1, open_tile, batch=1)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(("name", "what"), [
    ("sim8x8_int4", "weights need 8 bits"), ("ecp5_8x16", "all of MEM"), ("hx8k_2x2", "W-RAM words")])
def test_tiles_that_cannot_run_a_network_say_why(name, what):
    with pytest.raises(CompileError, match=what):
        run(every_kind(40, 40), preset(name), 0)


def compiled(network, config):
    """The program of a network with random weights."""
    x = np.random.default_rng(1).normal(size=(5, *([network.positions] if network.positions else []), network.source.size))
    return compile_network(quantise_network(with_weights(network), x), config, "network")[0]


@pytest.mark.parametrize(("name", "cycles"), [("sim8x8", [282, 377]), ("c8", [1184, 2339])])
def test_cycles_of_an_attention_are_as_before(name, cycles):
    """The first and the last position; the context is a power of 2."""
    config = TILES[-1] if name == "c8" else preset(name)
    program = compiled(attending(8, 8, 64), config)
    assert [program.cycles(position, wanted=False) for position in (0, 63)] == cycles


def product(inputs):
    """A network of one matrix."""
    return Network(Value("in", inputs, Number.WIDE), (linear("out", "in", 2),))


def test_products_whose_sums_do_not_fit_are_refused():
    """Sums of 24 bits have room for 511 products of -128 * -128."""
    config = TILES[-1]
    assert config.accumulator_bits == 24
    compiled(product(511), config)
    with pytest.raises(CompileError, match="more than 24 bits"):
        compiled(product(512), config)


def test_gelu_needs_its_table():
    with pytest.raises(CompileError, match="gelu=1"):
        run(every_kind(4, 4, "gelu"), preset("sim8x8"), 0)


def test_no_file_has_a_place_for_a_network(tmp_path):
    program, _, _ = run(every_kind(4, 4), preset("sim8x8"), 0)
    with pytest.raises(MareyError, match="not written to a file"):
        program.save(tmp_path / "network.marey")
