"""The pace of attention: it is legal for drawn heads, contexts and tiles, and `fitted` is tight."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.hdl.spec.config import preset
from marey.sw.compiler.compile import schedule
from marey.sw.compiler.cycles import fitted
from marey.sw.compiler.pace import MOST_GROUPS, Head, paces_of, ranges_of
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
    for pace in paces_of(preset("lpu16x16"), Head(heads, 1, 4, 1, 1, 1, 1), 128, rolling=True):
        assert -(-heads // pace.size) <= MOST_GROUPS


@settings(max_examples=30)
@given(data=st.data())
def test_ranges_take_the_fewest_cycles(data):
    """Of all ways to cut the numbers of blocks into ranges, the one with the fewest cycles; no range is for nothing, and none
    takes more cycles than without ranges."""
    paces, blocks, most = (data.draw(st.integers(1, end)) for end in (3, 7, 4))
    cycles = np.array(data.draw(st.lists(st.lists(st.integers(0, 60), min_size=blocks, max_size=blocks), min_size=paces,
                                         max_size=paces)))
    fewest, less = data.draw(st.integers(1, blocks)), data.draw(st.integers(0, 20))
    saved = np.where(np.arange(1, blocks + 1) >= fewest, less, 0)
    saved[0] = 0

    one = cycles[cycles.sum(axis=1).argmin()]

    def best(firsts):
        """The fewest cycles of ranges that begin with these numbers of blocks."""
        return sum(np.where((cycles <= one)[:, first - 1:end - 1].all(axis=1), cycles[:, first - 1:end - 1].sum(axis=1),
                            1 << 20).min() - saved[first - 1] * (end - first)
                   for first, end in zip(firsts, [*firsts[1:], blocks + 1], strict=True))

    totals = [min(best([1, *firsts]) for several in range(count) for firsts in combinations(range(2, blocks + 1), several))
              for count in range(1, most + 1)]
    least = data.draw(st.floats(0, 5))
    found = ranges_of(cycles, most, saved, least)
    firsts, total = [first for first, _ in found], best([first for first, _ in found])
    assert firsts[0] == 1 and firsts == sorted(set(firsts)) and len(firsts) <= most
    assert total == sum(cycles[pace, first - 1:end - 1].sum() - saved[first - 1] * (end - first)
                        for (first, pace), end in zip(found, [*firsts[1:], blocks + 1], strict=True))
    assert total in totals
    if len(firsts) < most:
        assert total - totals[len(firsts)] <= least * blocks


def test_a_range_has_the_pace_that_suits_it():
    """With several ranges no position takes more cycles than with one, and those of short contexts take fewer."""
    config, shape = preset("sim8x8"), ModelConfig(dim=64, hidden_dim=64, n_layers=1, n_heads=8, n_kv_heads=4, vocab_size=64,
                                                  seq_len=256)
    outline = outline_of_shape(shape, pipelined=True)
    several = schedule(lay_out_model(config, outline), outline)
    small = replace(config, program_depth=len(several.image.instructions) // len(several.entries) + 20)
    one = schedule(lay_out_model(small, outline), outline)
    verify(several)
    assert len(several.entries) > 2 and len(one.entries) == 1
    cycles = np.array([[program.cycles(position) for position in range(0, 256, 8)] for program in (several, one)])
    assert (cycles[0] <= cycles[1]).all() and cycles[0, 0] < cycles[1, 0] and cycles[0].mean() < 0.99 * cycles[1].mean()


def test_long_waits_fit_the_tile():
    """The scores of 32 heads of 128 take longer than a PERIOD can say."""
    config = replace(preset("lpu16x16"), mem_depth=1 << 17)
    shape = ModelConfig(dim=128, hidden_dim=64, n_layers=1, n_heads=32, n_kv_heads=8, vocab_size=64, seq_len=2048,
                        head_width=128)
    outline = outline_of_shape(shape)
    program = schedule(lay_out_model(config, outline, 2048), outline)
    assert program.cycles(2047) > program.cycles(1023) + 31 * 1024
