"""Which size of array suits a model."""

from dataclasses import replace

import pytest

from marey.hdl.spec.config import Config, preset
from marey.sw.compiler.compile import compile_quantised
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.quant.quantise import quantise
from marey.sw.views.arrays import smaller_array
from marey.sw.views.report import report

NARROW = ModelConfig(dim=16, hidden_dim=32, n_layers=1, n_heads=4, n_kv_heads=2, vocab_size=48, seq_len=16)
"""Heads of 4 values."""
LARGE = Config(name="large", rows=32, cols=32, lanes=32, wram_depth=4096, mem_depth=2048)


@pytest.fixture(scope="module")
def integers():
    return quantise(tiny_model(NARROW))


def test_a_model_with_narrow_heads_is_faster_on_a_smaller_array(integers):
    """The cycles that are named are those of a program for that array."""
    program = compile_quantised(integers, LARGE)
    found = smaller_array(program, 3)
    assert found.rows == found.cols < 32 and found.cycles < program.cycles(3)
    factor = 32 // found.rows
    tile = replace(LARGE, rows=found.rows, cols=found.cols, lanes=found.rows, wram_depth=4096 * factor**2,
                   mem_depth=2048 * factor)
    assert compile_quantised(integers, tile).cycles(3) == found.cycles
    assert f"{found.rows}x{found.cols}" in report(program, 3)["summary"]["a smaller array is as fast"]


def test_where_the_array_suits_nothing_is_said(integers):
    program = compile_quantised(integers, preset("tiny4x4"))
    assert smaller_array(program, 0) is None
    result = report(program, 0)
    assert result["smaller_array"] is None and not any("array" in label for label in result["summary"])
