"""The scheduler: of a step's choices it takes the one with which the last step ends first."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.hdl.spec.config import preset
from marey.hdl.spec.isa import Op, To, isa_of
from marey.hdl.timing import Unit
from marey.sw.compiler.builder import Builder
from marey.sw.compiler.compile import schedule
from marey.sw.compiler.decisions import Scheduled
from marey.sw.compiler.distances import stream_offset
from marey.sw.compiler.layout import Layout
from marey.sw.compiler.placement import Resident
from marey.sw.compiler.schedule import Timeline
from marey.sw.compiler.steps import best, step
from marey.sw.model.config import ModelConfig
from marey.sw.quant.outline import outline_of_shape

CONFIG = preset("sim8x8")
FACTORS, RESULTS = 100, 300


def vector_pass(**operands):
    return isa_of(CONFIG).make(Op.VXM, engine=1, x_step=1, dst=FACTORS, to=To.MEM, **operands)


def product(results, inner):
    mxm = isa_of(CONFIG).make(Op.MXM, act=64, inner=inner, middle=results, wgt_step=inner)
    take = isa_of(CONFIG).make(Op.VXM, stream=1, by_vector=1, y=FACTORS, y_step=1, middle=results, interval=inner, dst=RESULTS,
                               to=To.MEM)
    return step(mxm, take, offsets=(0, stream_offset(CONFIG, inner)))


@settings(max_examples=8, deadline=None)
@given(turns=st.integers(2, 20), inner=st.integers(2, 8), together=st.integers(1, 7))
def test_the_section_ends_as_early_as_with_the_best_choice_alone(turns, inner, together):
    together = min(together, inner - 1)
    results = turns * together
    choices = [vector_pass(inner=results), vector_pass(inner=together, middle=turns, interval=inner)]

    def end(*choices):
        return Timeline(CONFIG, {}).schedule([best(choices), product(results, inner)]).beats()

    assert end(*choices) == min(end(choices[0]), end(choices[1]))


@settings(max_examples=15, deadline=None)
@given(count=st.integers(1, 60), rate=st.integers(1, 20))
def test_every_choice_of_a_spread_pass_makes_each_granule_once(count, rate):
    shape = ModelConfig(dim=16, hidden_dim=16, n_layers=1, n_heads=2, n_kv_heads=1, vocab_size=16, seq_len=16)
    outline = outline_of_shape(shape)
    layout = Layout(CONFIG, outline, 16)
    builder = Builder(layout, outline, Resident(layout))
    builder.operation = outline.graph.find("silu")
    for each in builder.spread("pass", count, rate, x=0, dst=FACTORS):
        used = [use for offset, instruction in zip(each.offsets, each.instructions, strict=True)
                for use in Timeline(CONFIG, {}).uses(instruction, offset)]
        made = np.concatenate([use.addresses for use in used if use.unit is Unit.MEM_WRITE])
        beats = np.concatenate([use.cycles for use in used if use.unit is Unit.VXM_BEAT])
        assert sorted(made) == list(range(FACTORS, FACTORS + count)) and len(np.unique(beats)) == count


def test_decisions_are_made_once(monkeypatch):
    """A program whose shifts alone are new has the same cycles, without a search; another context is searched anew."""
    shape = ModelConfig(dim=64, hidden_dim=64, n_layers=1, n_heads=4, n_kv_heads=2, vocab_size=16, seq_len=32)
    outline = outline_of_shape(shape, pipelined=True)
    layout, scheduled = Layout(CONFIG, outline, 32), Scheduled(outline, 32)
    first = schedule(layout, outline, scheduled.decisions)
    assert scheduled.decisions.made and not scheduled.again(outline, 16).take(lambda: 0)
    shifted = replace(outline, shifts=defaultdict(lambda: 3), epsilon=5)
    monkeypatch.setattr(Timeline, "_best", lambda *_: pytest.fail("a choice was looked for again"))
    again = schedule(layout, shifted, scheduled.again(shifted, 32))
    assert [each.wait for each in again.image.instructions] == [each.wait for each in first.image.instructions]
    assert again.image.instructions != first.image.instructions
