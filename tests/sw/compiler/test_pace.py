"""The pace of attention: it is legal for drawn heads, contexts and tiles, and `fitted` is tight."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.hdl.spec.config import preset
from marey.sw.compiler.compile import schedule
from marey.sw.compiler.cycles import fitted
from marey.sw.compiler.pace import MOST_GROUPS, Head, pace_of
from marey.sw.compiler.plan import lay_out_model
from marey.sw.model.config import ModelConfig
from marey.sw.program.verified import verify
from marey.sw.quant.outline import outline_of_shape
from tests.configs import INT4, ROOMY

TILES = [replace(config, wram_depth=1 << 16, mem_depth=1 << 14, scalars=256) for config in ROOMY + INT4 if not config.compact]


@settings(max_examples=30)
@given(least=st.integers(0, 40), base=st.integers(-30, 30), per_block=st.integers(0, 6), most=st.integers(1, 30))
def test_cycles_that_can_be_told_are_fitted_exactly(least, base, per_block, most):
    needed = np.maximum(least, base + per_block * np.arange(1, most + 1))
    assert [fitted(needed, per_block).at(blocks) for blocks in range(1, most + 1)] == needed.tolist()


@settings(max_examples=30)
@given(needed=st.lists(st.integers(0, 60), min_size=1, max_size=20), per_block=st.integers(0, 4))
def test_fitted_cycles_suffice(needed, per_block):
    found = fitted(np.array(needed), per_block)
    assert all(found.at(blocks) >= least for blocks, least in enumerate(needed, 1))


@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_any_heads_obey_the_rules(data):
    """At every number of blocks, with few and with many heads, narrow and wide ones."""
    kv_heads = data.draw(st.integers(1, 5))
    heads, width = kv_heads * data.draw(st.integers(1, 3)), 2 * data.draw(st.integers(1, 20))
    config = data.draw(st.sampled_from(TILES))
    shape = ModelConfig(dim=heads * width, hidden_dim=16, n_layers=1, n_heads=heads, n_kv_heads=kv_heads, vocab_size=20,
                        seq_len=data.draw(st.sampled_from([16, 64, 200])))
    outline = outline_of_shape(shape, config.weight_bits)
    verify(schedule(lay_out_model(config, outline), outline))


@pytest.mark.parametrize("heads", [1, 9, 64])
def test_groups_are_few(heads):
    pace = pace_of(preset("lpu16x16"), Head(heads, 1, 4, 1, 1, 4, 1), 128)
    assert -(-heads // pace.size) <= MOST_GROUPS


def test_long_waits_fit_the_tile():
    """The scores of 32 heads of 128 take longer than a PERIOD can say."""
    config = replace(preset("lpu16x16"), mem_depth=1 << 17)
    shape = ModelConfig(dim=128, hidden_dim=64, n_layers=1, n_heads=32, n_kv_heads=8, vocab_size=64, seq_len=2048,
                        head_width=128)
    outline = outline_of_shape(shape)
    program = schedule(lay_out_model(config, outline, 2048), outline)
    assert program.cycles(2047) > program.cycles(1023) + 31 * 1024
