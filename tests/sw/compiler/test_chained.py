"""Chained tiles: passes of the VXM that become parts of a product. Integers are those of a tile that is not chained."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from marey.hdl.spec.config import preset
from marey.hdl.spec.isa import Function, Op, Then, To
from marey.sim.backends import open_transport
from marey.sim.endpoint import Endpoint
from marey.sw.compiler.compile import compile_quantised
from marey.sw.compiler.integers import integers_for
from marey.sw.compiler.layout import CompileError
from marey.sw.formats import DEFAULT_MODEL, load_model
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.quant.quantise import quantise
from marey.sw.runtime.driver import Device
from tests.configs import ONE_PORT
from tests.greedy import greedy_steps
from tests.models import without_gains

CONFIG = replace(ONE_PORT[3], mem_depth=1024, wram_depth=16384)
SHAPE = ModelConfig(dim=64, hidden_dim=60, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=40, seq_len=40)


def quantised(shape, gains=False):
    made = tiny_model(shape)
    return quantise(made if gains else without_gains(made), 4, cache_bits=4, static=True)


def thens(program):
    """{operation: what the VXM does with its results}."""
    return {each.operation: each["then"] for each in program.image.instructions
            if each.op is Op.VXM and each["stream"] and each["then"] is not Then.NOTHING}


@pytest.fixture(scope="module")
def programs():
    """The model that ships on the tile of a UP5K, which is chained, and on one that is not."""
    model = load_model(DEFAULT_MODEL)
    tile = preset("up5k_4x4")
    integers = quantise(model, **integers_for(tile, model.config, model))
    return compile_quantised(integers, tile), compile_quantised(integers, replace(tile, chained=0))


def test_what_is_chained_in_the_model_that_ships(programs):
    chained, plain = programs
    assert thens(chained) == {"qk": Then.TURN, "wo": Then.SQUARES, "w1": Then.SILU, "w2": Then.SQUARES}
    passes = [each for each in chained.image.instructions if each.op is Op.VXM and not each["stream"]]
    assert not [each for each in passes if each["function"] is Function.SILU]
    # What is left of pairs are the rotations of a position; of squares those before the first layer, in two ranges.
    assert {each.operation for each in passes if each["pair"]} == {"angles"}
    assert len([each for each in passes if each.note == "norm: squares"]) == 2
    assert "then" not in plain.image.instructions[0].operands


@pytest.mark.parametrize(("position", "most"), [(0, 13_700), (64, 16_600), (127, 19_500)])
def test_what_it_saves(programs, position, most):
    """Cycles of a token; 10 % without the chains, see docs/performance.md."""
    chained, plain = programs
    assert chained.cycles(position) <= most < plain.cycles(position) - 1300


def test_the_ranges_of_positions_have_exact_pauses(programs):
    """From the position with four blocks on a head's results come as fast as its words: each block costs the same."""
    chained, _ = programs
    assert [first for first, _ in chained.entries] == [0, 12]
    cycles = np.array([chained.cycles(position) for position in range(0, 128, 4)])
    assert set(np.diff(cycles[3:])) == {192} and set(np.diff(cycles[:3])) == {132}


@settings(max_examples=8, deadline=None, phases=set(Phase) - {Phase.shrink})
@given(dim=st.sampled_from([32, 48, 60, 64]), heads=st.sampled_from([1, 2, 4]), hidden=st.integers(20, 70),
       tied=st.booleans(), gains=st.booleans(), family=st.sampled_from(["llama", "qwen2", "qwen3", "gpt2"]))
def test_any_shape(dim, heads, hidden, tied, gains, family):
    """Models some of whose products leave too little time, or have a bias, or other functions: all are golden."""
    config = replace(CONFIG, gelu=1)
    shape = ModelConfig(dim=dim // (2 * heads) * 2 * heads, hidden_dim=hidden, n_layers=1, n_heads=heads, n_kv_heads=heads,
                        vocab_size=16, seq_len=20, tied=tied, family=family)
    model = quantised(shape, gains or family != "llama")
    try:
        program = compile_quantised(model, config)
    except CompileError:  # factors for each group of weights do not fit beside a wide model's
        assume(False)
    with Device(Endpoint(config), config) as device:
        device.load(program)
        assert len(list(greedy_steps(program, model, device, 3))) == 3
        assert device.tally.measured == device.tally.predicted


@settings(max_examples=12, deadline=None, phases=set(Phase) - {Phase.shrink})
@given(heads=st.sampled_from([(4, 16), (8, 8), (2, 32), (4, 32), (8, 16)]), kv=st.sampled_from([1, 2, 4, 8]),
       context=st.integers(4, 28), hidden=st.integers(20, 70))
def test_short_contexts_whose_queries_are_turned_where_they_are(heads, kv, context, hidden):
    """With few scores, values or the input would lie where queries and keys are; so it was once, from position 1 on."""
    count, head = heads
    model = quantised(ModelConfig(dim=count * head, hidden_dim=hidden, n_layers=2, n_heads=count, n_kv_heads=min(kv, count),
                                  vocab_size=7, seq_len=context))
    program = compile_quantised(model, CONFIG)
    assert thens(program)["qk"] is Then.TURN
    with Device(Endpoint(CONFIG), CONFIG) as device:
        device.load(program)
        assert len(list(greedy_steps(program, model, device, min(context, 6)))) == min(context, 6)


@pytest.mark.parametrize("context", [4, 12, 16, 20])
def test_the_model_that_ships_in_a_short_context(context):
    model, tile = load_model(DEFAULT_MODEL), preset("up5k_4x4")
    integers = quantise(model, **integers_for(tile, model.config, model))
    program = compile_quantised(integers, tile, context=context)
    with Device(Endpoint(tile), tile) as device:
        device.load(program)
        assert len(list(greedy_steps(program, integers, device, 4))) == 4


@pytest.mark.parametrize(("dim", "wanted"), [
    (64, {"qk": Then.TURN, "wo": Then.SQUARES, "w1": Then.SILU, "w2": Then.SQUARES}),
    (48, {"wo": Then.SQUARES, "w1": Then.SILU, "w2": Then.SQUARES}), (32, {"w2": Then.SQUARES})])
def test_a_product_must_leave_the_time(dim, wanted):
    """11 cycles a result, and 15 where pairs are turned; a head of 12 values is no power of two of results."""
    model = quantised(replace(SHAPE, dim=dim))
    assert thens(compile_quantised(model, CONFIG)) == wanted


def test_the_rtl_computes_the_golden_integers_in_the_cycles_predicted(compiler):
    """Every position of a small context, across the ranges of positions, with all that a VXM can go on with."""
    model = quantised(SHAPE)
    program = compile_quantised(model, CONFIG)
    assert set(thens(program).values()) == {Then.TURN, Then.SQUARES, Then.SILU}
    with Device(open_transport(CONFIG, "verilator"), CONFIG) as device:
        device.load(program)
        assert len(list(greedy_steps(program, model, device, 40))) == 40
        assert device.tally.measured == device.tally.predicted


def test_a_bias_leaves_no_place_for_a_chain():
    """The VXM adds a bias that it reads as x, where with `then` x is where results go; sums of the residual have theirs."""
    model = quantised(replace(SHAPE, family="qwen2", n_layers=1, hidden_dim=24, vocab_size=16))
    found = thens(compile_quantised(model, CONFIG))
    assert "qk" not in found and found["wo"] is Then.SQUARES


def test_keys_are_copied_to_the_cache_in_a_beat_each(programs):
    (keys, *_), = [[each for each in programs[0].image.instructions if each.op is Op.VXM and each["to"] is To.KEYS]]
    assert not keys["pair"] and keys["inner"] == 16
