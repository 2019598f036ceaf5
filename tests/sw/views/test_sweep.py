"""Sweeps: every combination, its figures, the Pareto front, the table and the plot."""

import csv
import io
from itertools import pairwise
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from marey.hdl.spec.config import preset
from marey.sw.compiler.compile import compile_model
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.views.scatter import scatter
from marey.sw.views.sweep import as_csv, front, points, reckon, with_speed

SHAPE = ModelConfig(dim=8, hidden_dim=8, n_layers=1, n_heads=1, n_kv_heads=1, vocab_size=40, seq_len=16)


def test_every_combination_is_a_point():
    found = points("sim8x8", {"rows": [4, 8], "lanes": [1, 2, 4]})
    assert len(found) == len(set(found)) == 6 and found[0] == "sim8x8,rows=4,lanes=1"
    assert points("sim8x8", {}) == ["sim8x8"]


def test_the_figures_are_those_of_a_compiled_program():
    row = reckon("tiny4x8", SHAPE, None)
    program = compile_model(tiny_model(SHAPE), preset("tiny4x8"))
    assert row["mode"] == "resident" and row["positions"] == program.model.context
    assert row["cycles"] == program.cycles(program.model.context // 2) and 0 < row["utilisation"] < 1
    assert row["wram_words"] == program.wram_words and row["rows"] == 4 and row["cols"] == 8
    spoken = with_speed(row, {"lut": 1000, "clock_mhz": 50.0})
    assert spoken["tokens_per_second"] == float(f"{50e6 / row['cycles']:.4g}")
    assert with_speed(row, None, 25.0)["tokens_per_second"] == float(f"{25e6 / row['cycles']:.4g}")
    assert "tokens_per_second" not in with_speed(row, None) and "usd" not in spoken
    priced = with_speed(row, {"lut": 1000, "clock_mhz": 50.0, "part": "small"}, None, {"small": 5.0})
    assert priced["tokens_per_second_per_usd"] == float(f"{10e6 / row['cycles']:.4g}") and priced["usd"] == 5.0


def test_a_point_that_cannot_be_says_why():
    illegal, small = reckon("tiny4x8,rows=3", SHAPE, None), reckon("tiny4x8,wram_depth=8,mem_depth=8", SHAPE, None)
    assert illegal["mode"] == "illegal" and "power of two" in illegal["why"] and "rows" not in illegal
    assert small["mode"] == "no" and small["why"] and "cycles" not in small


ROWS = st.lists(st.fixed_dictionaries({
    "config": st.just("x"), "lut": st.none() | st.integers(1, 9), "speed": st.integers(1, 9)}), max_size=12)


@given(ROWS)
def test_the_front_is_what_nothing_beats(rows):
    """Each row is on the front, or has one there that costs no more and gains no less; those there do not beat each other."""
    best = front(rows, "lut", "speed")
    assert all(cheap["lut"] < dear["lut"] and cheap["speed"] < dear["speed"]
               for cheap, dear in pairwise(best))
    for row in rows:
        assert row["lut"] is None or any(one["lut"] <= row["lut"] and one["speed"] >= row["speed"] for one in best)


@given(ROWS.filter(lambda rows: any(row["lut"] for row in rows)))
def test_the_plot_is_xml_with_every_point(rows):
    rows = [row for row in rows if row["lut"]]
    best = front(rows, "lut", "speed")
    text = scatter("<a> & b", rows, best, ("lut", "LUT"), ("speed", "speed"))
    circles = [node for node in ElementTree.fromstring(text).iter() if node.tag.endswith("circle")]
    assert len(circles) == len(rows) + len(best)
    assert all(0 < float(node.get("cx")) < 760 and 0 < float(node.get("cy")) < 460 for node in circles)


def test_the_table_has_a_column_for_every_key():
    rows = [{"config": "a,b=1", "why": 'says "no"'}, {"config": "c", "lut": 3}]
    found = [*csv.DictReader(io.StringIO(as_csv(rows)))]
    assert found == [{"config": "a,b=1", "why": 'says "no"', "lut": ""}, {"config": "c", "why": "", "lut": "3"}]
