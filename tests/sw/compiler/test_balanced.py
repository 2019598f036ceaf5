"""Models with a balanced residual on the tile: tokens equal the golden model's, in the predicted
cycles."""

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from marey.hdl.spec.config import preset
from marey.sim import pysim, verilator
from marey.sim.endpoint import Endpoint
from marey.sw.compiler.compile import compile_quantised
from marey.sw.compiler.layout import CompileError
from marey.sw.model.config import ModelConfig
from marey.sw.quant.outline import Outline, outline_with_offsets
from marey.sw.quant.quantise import quantise
from marey.sw.runtime.driver import Device
from tests.configs import ONE_PORT, ROOMY
from tests.greedy import greedy_steps
from tests.outliers import outlier_model

TILES = [config for config in ROOMY + ONE_PORT if config.weight_bits == 8]
SHAPE = ModelConfig(dim=24, hidden_dim=44, n_layers=2, n_heads=6, n_kv_heads=3, vocab_size=50, seq_len=20)
GROUPED = ModelConfig(dim=192, hidden_dim=288, n_layers=1, n_heads=4, n_kv_heads=2, vocab_size=50, seq_len=20)
"""Inputs of products are in two groups of channels, those of w2 in three."""


OFFSETS = ModelConfig(dim=64, hidden_dim=44, n_layers=2, n_heads=2, n_kv_heads=1, vocab_size=20, seq_len=10)
"""Heads of 32, as weights of 4 bits need."""
MANY_SUMS = ModelConfig(dim=192, hidden_dim=1088, n_layers=1, n_heads=6, n_kv_heads=2, vocab_size=50, seq_len=20)
"""Inputs of products are in groups of channels, and the hidden vector has 34 groups of weights, more than fit one."""
INT4 = [replace(config, name=f"{config.name}_int4", weight_bits=4, wram_depth=1 << 14, mem_depth=1 << 12, scalars=64,
                program_depth=512) for config in ROOMY + ONE_PORT if not config.compact]


@cache
def quantised(shape, bits=8):
    model = quantise(outlier_model(shape), bits)
    assert model.balanced
    return model


def steps(program, model, count, transport=Endpoint):
    """[(token, cycles)] of the first `count` positions, each compared with the golden model."""
    with Device(transport(program.config), program.config) as device:
        device.load(program)
        found = list(greedy_steps(program, model, device, min(count, program.model.context)))
        assert device.tally.measured == device.tally.predicted
    assert [cycles for _, cycles in found] == [program.cycles(position) for position in range(len(found))]
    return found


@pytest.mark.parametrize("config", TILES, ids=lambda config: config.name)
def test_tokens_are_the_golden_models(config):
    model = quantised(SHAPE)
    program = compile_quantised(model, config)
    assert program.mode == "resident"
    assert len(steps(program, model, 6)) == 6


@pytest.mark.parametrize("config", TILES[::3], ids=lambda config: config.name)
def test_groups_of_channels(config):
    """Inputs with a step for each group, on tiles with more memory."""
    model = quantised(GROUPED)
    assert {operation.output.name: operation.output.groups for operation in model.graph.operations
            if operation.output.groups > 1} == {
        "attention_input": 2, "ffn_input": 2, "final_input": 2, "hidden": 3, "hidden.int8": 3}
    config = replace(config, name=f"{config.name}_large", wram_depth=1 << 16, mem_depth=1 << 13)
    assert len(steps(compile_quantised(model, config), model, 3)) == 3


@pytest.mark.parametrize("config", [pytest.param(config, marks=[] if config.name == "p8_int4" else pytest.mark.slow)
                                    for config in INT4], ids=lambda config: config.name)
def test_weights_of_4_bits_with_offsets(config):
    model = quantised(OFFSETS, 4)
    assert len(steps(compile_quantised(model, config), model, 2)) == 2


@pytest.mark.parametrize("shape", [OFFSETS, MANY_SUMS])
def test_a_shape_tells_the_outline(shape):
    """What is known of a model with offsets before its calibration is what will be found."""
    found, known = Outline.of(quantised(shape, 4)), outline_with_offsets(shape)
    assert (found.graph, found.groups, found.uniform) == (known.graph, known.groups, known.uniform)


@pytest.mark.slow
def test_many_sums_of_groups():
    config = replace(preset("sim8x8"), name="large_int4", weight_bits=4, wram_depth=1 << 16, mem_depth=1 << 14, scalars=256)
    model = quantised(MANY_SUMS, 4)
    assert max(linear.offset_groups for linear in model.linears.values()) == 4
    assert len(steps(compile_quantised(model, config), model, 3)) == 3


def test_a_tile_whose_rows_do_not_fit_a_group_of_weights_is_refused():
    config = replace(preset("sim8x8"), name="tall_int4", rows=64, weight_bits=4, wram_depth=1 << 14, mem_depth=1 << 12)
    with pytest.raises(CompileError, match="need blocks of 32"):
        compile_quantised(quantised(OFFSETS, 4), config)


def test_a_tile_with_few_scalars_is_refused():
    """Two groups of channels, and three of the hidden vector, need more scalars than attention does."""
    config = replace(preset("sim8x8"), name="few", scalars=32, wram_depth=1 << 16, mem_depth=1 << 13)
    with pytest.raises(CompileError, match=r"3 of a product's inputs need \d+ scalar registers, and few has 32"):
        compile_quantised(quantised(GROUPED), config)


@settings(max_examples=5, deadline=None, phases=set(Phase) - {Phase.shrink})
@given(data=st.data())
def test_any_shape(data):
    kv_heads, pairs = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 5))
    heads = kv_heads * data.draw(st.integers(1, 2))
    shape = ModelConfig(dim=2 * pairs * heads, hidden_dim=data.draw(st.integers(3, 50)), n_layers=data.draw(st.integers(1, 3)),
                        n_heads=heads, n_kv_heads=kv_heads, vocab_size=data.draw(st.integers(5, 60)), seq_len=16)
    config = data.draw(st.sampled_from(TILES))
    model = quantise(outlier_model(shape))
    assume(model.balanced)
    try:
        program = compile_quantised(model, config)
    except CompileError:
        assume(False)
    steps(program, model, 4)


@pytest.mark.slow
@pytest.mark.parametrize("transport", [pysim.open_tile, verilator.open_tile])
def test_on_the_rtl(transport):
    for shape, config, bits in ((SHAPE, ROOMY[0], 8), (GROUPED, preset("sim8x8"), 8), (OFFSETS, INT4[4], 4)):
        model = quantised(shape, bits)
        program = compile_quantised(model, config)
        assert steps(program, model, 4, transport) == steps(program, model, 4)
