"""Pipelined models on the tile, whose inputs of matrices are in two halves: tokens equal the golden model's, in the
predicted cycles."""

from dataclasses import replace

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from marey.hdl.spec.config import preset
from marey.sim import verilator
from marey.sim.endpoint import Endpoint
from marey.sw.compiler.compile import compile_quantised
from marey.sw.compiler.integers import integers_for
from marey.sw.compiler.layout import CompileError
from marey.sw.compiler.plan import lay_out_model
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.quant.outline import outline_of_shape
from marey.sw.quant.quantise import quantise
from marey.sw.runtime.driver import Device
from tests.configs import ROOMY
from tests.greedy import greedy_steps

WINDOWS = replace(preset("sim8x8"), name="windows8x8", mem_depth=768, act_first=640, act_depth=256, x_depth=512, y_depth=512)
"""A tile whose copies of MEM keep windows of it."""
SHAPE = ModelConfig(dim=64, hidden_dim=100, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=40, seq_len=20)
TILES = [replace(config, name=f"{config.name}_large", wram_depth=1 << 15, mem_depth=1 << 13, gelu=1)
         for config in ROOMY if config.lanes == config.cols]


def check(shape, config, count=3, transport=Endpoint, apart=True):
    model = quantise(tiny_model(shape), pipelined=True, apart=apart)
    assert model.pipelined and not model.balanced
    program = compile_quantised(model, config)
    assert program.mode == "resident"
    with Device(transport(config), config) as device:
        device.load(program)
        found = list(greedy_steps(program, model, device, count))
        assert device.tally.measured == device.tally.predicted
    assert [cycles for _, cycles in found] == [program.cycles(position) for position in range(count)]


@settings(max_examples=2, deadline=None, phases=set(Phase) - {Phase.shrink})
@given(config=st.sampled_from(TILES), more=st.integers(0, 5), heads=st.sampled_from([1, 2, 4]), grouped=st.booleans(),
       hidden=st.integers(60, 110), tied=st.booleans(), apart=st.booleans(),
       family=st.sampled_from(["llama", "qwen2", "qwen3", "gpt2"]))
@example(config=WINDOWS, more=0, heads=4, grouped=True, hidden=64, tied=True, apart=False, family="llama")
def test_any_shape(config, more, heads, grouped, hidden, tied, apart, family):
    """Also with a hidden vector that is too short to have halves, and with a classifier that is the embedding."""
    kv_heads = 1 if grouped and family != "gpt2" else heads
    check(ModelConfig(dim=64 + 2 * heads * more, hidden_dim=hidden, n_layers=1, n_heads=heads, n_kv_heads=kv_heads,
                      vocab_size=30, seq_len=20, tied=tied, family=family), config, apart=apart)


def test_which_tiles_have_pipelined_models():
    """Those that take a result in a cycle, whose rows leave a half several words, and which have room for the model."""
    def pipelined(**changes):
        return integers_for(replace(preset("sim8x8"), name="tile", **changes), SHAPE)["pipelined"]

    assert pipelined() and pipelined(rows=4, cols=4, lanes=4)
    assert not pipelined(rows=16, cols=16, lanes=16) and not pipelined(lanes=4) and not pipelined(weight_bits=4)
    assert not pipelined(wram_ports=1) and not pipelined(wram_depth=512)


def test_a_classifier_is_the_embedding_where_there_is_no_room_for_both():
    """Its words are in W-RAM once."""
    halved = {"bits": 8, "group": 16, "pipelined": True, "cache_bits": 8, "static": False}
    words = [lay_out_model(preset("sim8x8"), outline_of_shape(SHAPE, **halved, apart=apart)).words for apart in (True, False)]
    for depth in words:
        how = integers_for(replace(preset("sim8x8"), name="tile", wram_depth=depth), SHAPE)
        assert how == halved | {"apart": depth == max(words)}
    assert max(words) > min(words)


def test_a_pipelined_model_is_not_streamed():
    config, outline = replace(preset("sim8x8"), name="tile", wram_depth=512), outline_of_shape(SHAPE, pipelined=True)
    with pytest.raises(CompileError, match="inputs of matrices must not have halves"):
        lay_out_model(config, outline)


@pytest.mark.slow
def test_on_the_rtl():
    check(SHAPE, preset("sim8x8"), 4, verilator.open_tile)
