"""Lowering: every output is computed once, wherever the operations lie, and comes out right."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from marey.hdl.rules import violations
from marey.sim.endpoint import Endpoint
from marey.sw.driver import Device
from marey.sw.golden import linear
from marey.sw.lowering import CompileError, Linear, lower
from marey.sw.program import Program
from tests.configs import CONFIGS, any_config


@st.composite
def operations(draw):
    """A configuration, and one to three linear operations of any shape, with a number of vectors."""
    config = draw(any_config)
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    limit = 1 << config.weight_bits - 1
    linears = {}
    for index in range(draw(st.integers(1, 3))):
        outputs, inputs = draw(st.integers(1, 60)), draw(st.integers(1, 40))
        linears[f"op{index}"] = Linear(
            rng.integers(-limit, limit, (outputs, inputs)).astype(np.int8),
            rng.integers(0, 32768, outputs).astype(np.int16), draw(st.integers(8, 24)))
    return config, linears, draw(st.integers(1, 3)), rng


@settings(max_examples=60, deadline=None)
@given(operations())
def test_the_tile_computes_what_was_lowered(drawn):
    config, linears, vectors, rng = drawn
    try:
        groups, segments = lower(config, linears, vectors)
    except CompileError:
        assume(False)
    for name, operation in linears.items():
        rows = [range(s.first, s.first + s.outputs) for s in segments if s.linear == name]
        assert [row for part in rows for row in part] == list(range(len(operation.weight)))
    for number, group in enumerate(groups):
        assert len(group.weights) <= config.wram_depth and len(group.program) <= config.program_depth
        assert group.factors_at + len(group.factors) // config.lanes <= config.granules
        for segment in segments:
            assert segment.group != number or violations(config, group.program, segment.entry) == []
    with Device(Endpoint(config), config) as device:
        device.load(Program(config, groups, segments))
        for name, operation in linears.items():
            x = rng.integers(-128, 128, (vectors, operation.weight.shape[1])).astype(np.int8)
            assert np.array_equal(device.linear(name, x), linear(operation, x))
        assert device.tally.measured == device.tally.predicted == sum(segment.cycles for segment in segments)
        assert device.tally.macs == vectors * sum(operation.weight.size for operation in linears.values())


def operation(outputs, inputs):
    return Linear(np.ones((outputs, inputs), np.int8), np.ones(outputs, np.int16), 0)


def test_resident_or_streamed():
    config = CONFIGS[0]
    groups, _ = lower(config, {"a": operation(16, 16), "b": operation(16, 16)})
    assert len(groups) == 1 and len(groups[0].weights) == 32
    groups, segments = lower(config, {"a": operation(40, 16), "b": operation(40, 16)})
    assert len(groups) == 2 and [segment.group for segment in segments] == [0, 1]
    groups, segments = lower(config, {"a": operation(100, 16)})
    assert len(groups) > 1 and len(segments) == len(groups)


@pytest.mark.parametrize(("outputs", "inputs"), [(4, 4000), (4, 257)])
def test_what_cannot_fit(outputs, inputs):
    with pytest.raises(CompileError, match="choose a larger one") as caught:
        lower(CONFIGS[0], {"a": operation(outputs, inputs)})
    assert "\n" not in str(caught.value)


def test_the_full_rate_of_a_matrix_vector_product():
    """Cycles of a product are its beats, and a latency that does not depend on it."""
    config = CONFIGS[0]
    over = {lower(config, {"a": operation(outputs, inputs)})[1][0].cycles - outputs * inputs // 16
            for outputs, inputs in ((8, 32), (16, 32), (32, 32))}
    assert len(over) == 1
