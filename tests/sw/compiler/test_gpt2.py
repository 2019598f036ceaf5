"""The GPT-2 family on the tile: for any shape, tokens equal the golden model's and take the
predicted cycles."""

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from marey.hdl.spec.config import preset
from marey.sim import pysim, verilator
from marey.sim.endpoint import Endpoint
from marey.sw.compiler.compile import compile_quantised, schedule
from marey.sw.compiler.integers import integers_for
from marey.sw.compiler.layout import CompileError, Layout
from marey.sw.compiler.plan import lay_out_model
from marey.sw.compiler.streamed import StreamedLayout
from marey.sw.formats import huggingface, load_model
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.quant.outline import Outline, outline_of_shape
from marey.sw.quant.quantise import GROUP, quantise
from marey.sw.runtime.driver import Device
from tests.configs import INT4, ONE_PORT, ROOMY
from tests.greedy import greedy_steps
from tests.vocabularies import byte_level

GELU = [replace(config, gelu=1) for config in ROOMY + INT4 + ONE_PORT]
LARGE = {"wram_depth": 1 << 16, "mem_depth": 1 << 14}
SHAPE = ModelConfig(dim=24, hidden_dim=44, n_layers=2, n_heads=3, n_kv_heads=3, vocab_size=50, seq_len=20, family="gpt2")
CHUNKED = 130
"""W-RAM words of a 4x4 tile in which the model of `SHAPE` is streamed, its matrices in several chunks."""
SMALL = ModelConfig(dim=8, hidden_dim=12, n_layers=1, n_heads=1, n_kv_heads=1, vocab_size=9, seq_len=8, family="gpt2")


@st.composite
def shapes(draw, longest: int) -> ModelConfig:
    """Model shapes: any number and width of heads, any hidden width, tied or not, up to `longest`
    positions."""
    heads, pairs = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    return ModelConfig(dim=2 * pairs * heads, hidden_dim=draw(st.integers(3, 60)), n_layers=draw(st.integers(1, 3)),
                       n_heads=heads, n_kv_heads=heads, vocab_size=draw(st.integers(5, 70)),
                       seq_len=draw(st.integers(4, longest)), tied=draw(st.booleans()), family="gpt2")


@cache
def quantised(shape, bits=8, cache_bits=8):
    return quantise(tiny_model(shape), bits, cache_bits=cache_bits)


def steps(program, model, count, transport=Endpoint):
    """[(token, cycles)] of the first `count` positions, each compared with the golden model and the
    prediction."""
    with Device(transport(program.config), program.config) as device:
        device.load(program)
        found = list(greedy_steps(program, model, device, min(count, program.model.context)))
        assert device.tally.measured == device.tally.predicted
    if program.mode == "resident":
        assert [cycles for _, cycles in found] == [program.cycles(position) for position in range(len(found))]
    return found


@pytest.mark.parametrize("config", [*GELU[::2], *(pytest.param(config, marks=pytest.mark.slow) for config in GELU[1::2])],
                         ids=lambda config: config.name)
def test_tokens_are_the_golden_models(config):
    model = quantised(SHAPE, config.weight_bits, config.cache_bits)
    program = compile_quantised(model, config)
    assert program.mode == "resident"
    assert len(steps(program, model, 6)) == 6


@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_any_shape(data):
    shape, config = data.draw(shapes(40)), data.draw(st.sampled_from(GELU))
    deep, wide = (14, 10) if config.compact else (16, 14)
    model = quantised(shape, config.weight_bits, config.cache_bits)
    assert steps(compile_quantised(model, replace(config, wram_depth=1 << deep, mem_depth=1 << wide)), model, 3)


@settings(max_examples=4, deadline=None, phases=set(Phase) - {Phase.shrink})
@given(data=st.data())
def test_any_shape_streamed(data):
    """A tile with too little W-RAM for the model makes the same tokens as a larger one."""
    shape = data.draw(shapes(30))
    config = replace(data.draw(st.sampled_from(ROOMY)), mem_depth=1 << 14, gelu=1)
    # W-RAM from the smallest with which the model can be streamed, but too small for it to be resident.
    model = quantised(shape)
    assume(not model.balanced)
    outline = Outline.of(model)
    least = StreamedLayout(replace(config, **LARGE), outline, max(config.block, 16))
    widest = max(matrix.inner for matrix in least.matrices.values())
    config = replace(config, wram_depth=least.buffer + 2 * widest + data.draw(st.integers(0, 6 * widest)))
    assume(Layout(config, outline, min(shape.seq_len, 16)).words > config.wram_depth)
    program, resident = compile_quantised(model, config), compile_quantised(model, replace(config, **LARGE))
    assert (program.mode, resident.mode) == ("streamed", "resident")
    tokens = [[token for token, _ in steps(each, model, 2)] for each in (program, resident)]
    assert tokens[0] == tokens[1]


@pytest.mark.parametrize(("depth", "chunked"), [(CHUNKED, True), (700, False)])
def test_in_chunks_and_in_whole_matrices(depth, chunked):
    model = quantised(SHAPE)
    program = compile_quantised(model, replace(GELU[0], wram_depth=depth))
    assert program.stream and any(section.chunks > 1 for section in program.stream.sections) == chunked
    assert len(steps(program, model, 3)) == 3


@pytest.mark.parametrize("config", [GELU[0], GELU[5], GELU[8], replace(GELU[0], wram_depth=CHUNKED)],
                         ids=["int8", "int4", "compact", "streamed"])
@pytest.mark.parametrize("with_weights", [True, False])
def test_without_weights_the_program_is_the_same(config, with_weights):
    """So `marey fit` predicts the cycles from a header alone, and a model that cannot fit is
    refused before calibration."""
    outline = outline_of_shape(SHAPE, config.weight_bits, max(GROUP, config.rows), tiny_model(SHAPE) if with_weights else None,
                               cache_bits=config.cache_bits)
    program, real = schedule(lay_out_model(config, outline), outline), compile_quantised(
        quantised(SHAPE, config.weight_bits, config.cache_bits), config)
    assert [(each.op, each.wait) for each in program.image.instructions] == [
        (each.op, each.wait) for each in real.image.instructions]
    assert program.mode == real.mode
    assert (program.model.words, program.model.granules) == (real.model.words, real.model.granules)
    assert program.cycles(5) == real.cycles(5)


@pytest.mark.parametrize(("config", "tied"), [(GELU[1], True), (GELU[5], False)], ids=["tied", "untied"])
def test_a_folder_becomes_tokens(tmp_path, config, tied):
    """A model written to a Hugging Face folder and read again gives the same program and tokens."""
    shape = replace(SHAPE, vocab_size=400, tied=tied)
    huggingface.write(tmp_path / "m", tiny_model(shape), byte_level("gpt-2"))
    read = quantise(load_model(tmp_path / "m"), config.weight_bits, cache_bits=config.cache_bits)
    config = replace(config, wram_depth=1 << 15)
    program = compile_quantised(read, config)
    made = quantised(shape, config.weight_bits, config.cache_bits)
    assert program.image.instructions == compile_quantised(made, config).image.instructions
    assert steps(program, made, 4) == steps(program, read, 4)


@pytest.mark.parametrize("config", [GELU[2], pytest.param(replace(GELU[0], wram_depth=CHUNKED), marks=pytest.mark.slow)],
                         ids=["resident", "streamed"])
def test_on_the_rtl(config, compiler):
    model = quantised(SHAPE)
    program = compile_quantised(model, config)
    assert (program.stream is not None) == (config.wram_depth == CHUNKED)
    assert steps(program, model, 6, verilator.open_tile) == steps(program, model, 6)


@pytest.mark.slow
def test_in_amaranths_simulator():
    model = quantised(SMALL)
    program = compile_quantised(model, replace(GELU[0], wram_depth=128, mem_depth=128))
    assert steps(program, model, 1, pysim.open_tile) == steps(program, model, 1)


@pytest.mark.parametrize("config", ["sim8x8", "ecp5_8x8_int4", "up5k_4x4", "hx8k_2x2"])
def test_a_tile_without_gelu_refuses(config):
    """The error is one line that says what to choose, whether the model would be resident or
    streamed."""
    with pytest.raises(CompileError, match=r"needs GELU, .* has no table of it: choose a configuration with gelu=1") as caught:
        lay_out_model(preset(config), outline_of_shape(SHAPE, **integers_for(preset(config), SHAPE)))
    assert "\n" not in str(caught.value)
