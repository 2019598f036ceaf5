"""Lowering: for models and tiles of any shape, tokens equal the golden model's and take the
predicted cycles."""

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from marey.hdl.spec.config import preset
from marey.hdl.timing import check
from marey.sim.endpoint import Endpoint
from marey.sw.compiler.compile import compile_quantised, schedule
from marey.sw.compiler.layout import CompileError
from marey.sw.compiler.pace import MOST_GROUPS
from marey.sw.compiler.plan import plan
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.model.model import Model
from marey.sw.quant.outline import Outline, outline_of_shape
from marey.sw.quant.quantise import quantise
from marey.sw.runtime.driver import Device
from tests.configs import CONFIGS, INT4, MODELS, ONE_PORT, ROOMY, any_shape
from tests.greedy import greedy_steps
from tests.models import without_gains


@cache
def quantised(shape, bits, cache_bits=8):
    return quantise(tiny_model(shape), bits, cache_bits=cache_bits)


PAIRS = [pytest.param(config, shape, id=f"{MODELS[shape]}-{config.name}", marks=[pytest.mark.slow] * ((tile + model) % 3 > 0))
         for model, shape in enumerate(MODELS) for tile, config in enumerate(ROOMY + INT4 + ONE_PORT)]
"""Tiles and models: each tile with every third model, and each model on every third tile. The other pairs are slow
tests."""


@pytest.mark.parametrize(("config", "shape"), PAIRS)
def test_tokens_are_the_golden_models(config, shape):
    model = quantised(shape, config.weight_bits, config.cache_bits)
    program = compile_quantised(model, config)
    with Device(Endpoint(config), config) as device:
        device.load(program)
        assert len(list(greedy_steps(program, model, device, 10))) == 10


@pytest.mark.parametrize("config", INT4, ids=lambda config: config.name)
@pytest.mark.parametrize("axis", [None, 1])
def test_one_factor_for_a_matrix_and_norms_without_gains(config, axis):
    """`axis` None: each matrix lies on one grid, so its factors take one granule, except for
    queries and keys. `axis` 1: each row lies on a grid of its own."""
    shape = next(iter(MODELS))
    model = quantise(without_gains(tiny_model(shape), axis), 4)
    gains = {"attention_norm", "ffn_norm", "final_norm"}
    matrices = {"v", "wo", "w1", "w3", "w2", "classifier", "embedding"}
    assert model.uniform == (gains | matrices if axis is None else gains)
    one = plan(config, Outline.of(model)).granules
    assert one < plan(config, replace(Outline.of(model), uniform=frozenset())).granules
    program = compile_quantised(model, config)
    with Device(Endpoint(config), config) as device:
        device.load(program)
        assert len(list(greedy_steps(program, model, device, 6))) == 6


@pytest.mark.parametrize("config", [ROOMY[1], INT4[1]], ids=lambda config: config.name)
def test_norms_without_gains_of_what_is_on_no_grid(config):
    """Norms without gains also work with weights of 8 bits, and of 4 bits in groups, the
    embedding's included."""
    drawn = tiny_model(next(iter(MODELS)))
    tables = {name: drawn[name] for name in ("embedding", "classifier")}
    model = quantise(Model(drawn.config, without_gains(drawn).weights | tables), config.weight_bits)
    assert "final_norm" in model.uniform and not model.uniform & {"embedding", "classifier"}
    program = compile_quantised(model, config)
    with Device(Endpoint(config), config) as device:
        device.load(program)
        assert len(list(greedy_steps(program, model, device, 6))) == 6


def test_copies_of_mem_with_windows():
    """A model is laid out within the windows and takes no more cycles. If it cannot be, one line
    says why."""
    config, shape = INT4[1], next(iter(MODELS))
    model = quantise(without_gains(tiny_model(shape)), 4)
    small = replace(config, mem_depth=512, act_first=448, act_depth=256, x_depth=1536, y_depth=1024)
    program = compile_quantised(model, small)
    assert program.cycles() == compile_quantised(model, config).cycles()
    with Device(Endpoint(small), small) as device:
        device.load(program)
        assert len(list(greedy_steps(program, model, device, 6))) == 6
    for tight in ({"y_depth": 128}, {"x_depth": 512}, {"act_depth": 4}):
        with pytest.raises(CompileError, match=r"of which \d+ for the MXM, and \d+ and \d+ granules") as caught:
            plan(replace(small, **tight), Outline.of(model))
        assert "\n" not in str(caught.value)
    with pytest.raises(CompileError, match="all of MEM must be readable"):
        compile_quantised(quantised(shape, 8), replace(small, weight_bits=8, wram_depth=1024))


def test_a_product_that_takes_longer_than_a_timeline_reaches_back():
    """The last product of a layer is issued long before its last result comes, as in Qwen2.5-0.5B."""
    config = preset("lpu16x16")
    outline = outline_of_shape(ModelConfig(dim=512, hidden_dim=4864, n_layers=2, n_heads=8, n_kv_heads=8, vocab_size=16,
                                           seq_len=8), 8)
    program = schedule(plan(config, outline), outline)
    check(config, program.image.instructions, position=3)
    products = 2 * 512 * (4 * 512 + 3 * 4864)
    assert products <= program.cycles(3) * config.macs < 1.1 * products


def test_a_layer_waits_for_the_rotation_to_leave_the_vxm():
    """With so few positions, the instructions between the look-up of the angles and the layer take
    hardly a cycle."""
    shape = ModelConfig(dim=12, hidden_dim=4, n_layers=1, n_heads=1, n_kv_heads=1, vocab_size=15, seq_len=4, tied=False)
    (config,) = [config for config in INT4 if config.compact and config.wram_ports == 2]
    model = quantise(tiny_model(shape), 4)
    program = compile_quantised(model, config)
    with Device(Endpoint(config), config) as device:
        device.load(program)
        assert len(list(greedy_steps(program, model, device, 4))) == 4


@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_any_shape(data):
    shape = data.draw(any_shape(70))
    config = data.draw(st.sampled_from(ROOMY + INT4 + ONE_PORT))
    deep, wide = (14, 10) if config.compact else (16, 14)
    config = replace(config, wram_depth=1 << deep, mem_depth=1 << wide)
    model = quantise(tiny_model(shape), config.weight_bits, cache_bits=config.cache_bits)
    try:
        program = compile_quantised(model, config)
    except CompileError:
        assume(not config.compact)  # MEM of such a tile has no room for some shapes
        raise
    with Device(Endpoint(config), config) as device:
        device.load(program)
        assert list(greedy_steps(program, model, device, min(3, program.model.context)))


WIDE = [config for config in ROOMY + INT4 + ONE_PORT if config.cols > config.rows]


@pytest.mark.parametrize("config", [pytest.param(config, id=config.name) for config in WIDE])
@pytest.mark.parametrize("head_dim", [4, 12])
def test_results_of_more_columns_than_rows_have_several_heads(config, head_dim):
    """Heads of one word and of three, in results of two words: none is padded but in the cache of values."""
    shape = ModelConfig(dim=4 * head_dim, hidden_dim=20, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=19, seq_len=20)
    config = replace(config, wram_depth=1 << 14, mem_depth=1 << 10)
    model = quantise(tiny_model(shape), config.weight_bits)
    layout = plan(config, Outline.of(model))
    assert layout.matrices["v"].words == 2 * head_dim // config.cols * layout.dim // config.rows
    assert layout.head == head_dim and layout.value_head == -(-head_dim // config.cols) * config.cols > head_dim
    program = compile_quantised(model, config)
    with Device(Endpoint(config), config) as device:
        device.load(program)
        assert len(list(greedy_steps(program, model, device, 20))) == 20


def test_the_program_does_not_grow_with_the_layers():
    """With the context it grows by no more than the instructions for further groups of heads, if a program memory has no room
    for ranges of positions."""
    shape = ModelConfig(dim=32, hidden_dim=44, n_layers=1, n_heads=4, n_kv_heads=2, vocab_size=50, seq_len=32)
    config = replace(ROOMY[0], wram_depth=1 << 14, program_depth=preset("tiny4x4").program_depth)
    one, deep, long = (len(compile_quantised(quantise(tiny_model(other)), config).image.instructions)
                       for other in (shape, replace(shape, n_layers=5), replace(shape, seq_len=128)))
    assert one == deep <= long <= one + 12 * (MOST_GROUPS - 1) and long < config.program_depth


def test_cycles_grow_with_the_position_by_the_formula():
    shape = ModelConfig(dim=32, hidden_dim=44, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=50, seq_len=128)
    program = compile_quantised(quantise(tiny_model(shape)), replace(ROOMY[0], mem_depth=4096))
    constant, slope, least = program.formula()
    for position in range(128):
        assert program.cycles(position) == constant + slope * max(position // 4 + 1, least) or position // 4 + 1 < least


def test_models_that_do_not_fit_are_refused():
    model = quantise(tiny_model(next(iter(MODELS))))
    with pytest.raises(CompileError, match="choose a larger configuration") as caught:
        compile_quantised(model, CONFIGS[0])
    assert "\n" not in str(caught.value)
    with pytest.raises(CompileError, match="scalar registers"):
        compile_quantised(model, replace(ROOMY[0], scalars=16))
    with pytest.raises(CompileError, match="instructions"):
        compile_quantised(model, replace(ROOMY[0], program_depth=40))
    with pytest.raises(CompileError, match="quantise in larger groups"):
        compile_quantised(quantise(tiny_model(model.config), 4, group=4), INT4[0])
    with pytest.raises(CompileError, match="16 bits"):
        plan(ROOMY[0], outline_of_shape(replace(model.config, vocab_size=100_000)))


def test_a_context_is_at_most_the_models():
    """All positions of the model, and one more."""
    outline = Outline.of(quantised(next(iter(MODELS)), 8))
    most = outline.config.seq_len
    assert plan(ROOMY[0], outline, most).context == most
    with pytest.raises(CompileError, match=f"the model has {most} positions, and a context of {most + 1}"):
        plan(ROOMY[0], outline, most + 1)
