"""Ranges of positions with a schedule of their own: runs are cut where a range begins, and files keep the ranges."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marey.hdl.spec.config import preset
from marey.hdl.spec.errors import MareyError
from marey.hdl.spec.isa import Op
from marey.sim.endpoint import Endpoint
from marey.sw.cli.edited import with_instructions
from marey.sw.compiler.compile import compile_quantised
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.program.program import Program
from marey.sw.program.ranges import entry_of, parts_of, read_entries, spans_of
from marey.sw.quant.quantise import quantise
from marey.sw.runtime.driver import Device
from tests.configs import op
from tests.greedy import greedy_steps

CONFIG = preset("sim8x8")
SHAPE = ModelConfig(dim=64, hidden_dim=64, n_layers=1, n_heads=8, n_kv_heads=4, vocab_size=40, seq_len=256)


@pytest.fixture(scope="module")
def model():
    return quantise(tiny_model(SHAPE), pipelined=True)


@pytest.fixture(scope="module")
def program(model):
    return compile_quantised(model, CONFIG)


@given(firsts=st.sets(st.integers(1, 60), max_size=4), position=st.integers(0, 60), count=st.integers(0, 30))
def test_parts_cover_the_tokens_and_stay_in_their_ranges(firsts, position, count):
    entries = tuple((first, 10 * first) for first in sorted({0} | firsts))
    parts = parts_of(entries, position, count)
    assert [first + at for first, part in parts for at in range(part)] == list(range(position, position + count))
    for first, part in parts:
        assert entry_of(entries, first) == entry_of(entries, first + max(part, 1) - 1)
    assert len(parts) == 1 or count > 1


def test_spans_are_the_context():
    assert spans_of(((0, 0), (16, 90), (40, 200)), 64) == [(0, 16, 0), (16, 40, 90), (40, 64, 200)]


@pytest.mark.parametrize("listed", [[], [[1, 0]], [[0, 0], [8, 3], [4, 1]], [[0, 0], [0, 3]], [[0, 5]], [[0, 0], [64, 1]]])
def test_damaged_entries_are_refused(listed):
    assert read_entries([[0, 0], [8, 3]], 5, 64) == ((0, 0), (8, 3))
    with pytest.raises(ValueError, match="entries"):
        read_entries(listed, 5, 64)


def test_a_text_goes_on_where_a_range_begins(program, model):
    """One call for all tokens is cut into runs; its tokens are those of one token a run, which are the golden model's."""
    last = program.entries[-1][0]
    count = last + 2
    with Device(Endpoint(CONFIG), CONFIG) as device:
        device.load(program)
        single = [token for token, _ in greedy_steps(program, model, device, count)]
        assert device.tally.predicted == device.tally.measured
    with Device(Endpoint(CONFIG), CONFIG) as device:
        device.load(program)
        shown = []
        assert device.run(1, 0, count, show=shown.append) == shown == single
        assert device.tally.runs == len(program.entries) > 1 and device.tally.predicted == device.tally.measured


def test_a_file_keeps_the_ranges(program, tmp_path):
    program.save(tmp_path / "p.marey")
    loaded = Program.load(tmp_path / "p.marey")
    assert loaded.entries == program.entries and len(program.entries) > 1
    assert loaded.cycles(200) == program.cycles(200)


def test_an_edited_program_keeps_its_ranges(program):
    """Also with an instruction more; not without the instruction with which a range begins."""
    code = list(program.image.instructions)
    assert with_instructions(program, code) == program
    at = program.entries[1][1]
    # A NOP in front of the second range is reached by no run.
    edited = with_instructions(program, [*code[:at], op(CONFIG, "NOP"), *[
        replace(each, operands=each.operands | {"target": each["target"] + (each["target"] >= at)})
        if each.op in (Op.LOOP, Op.TOKEN) else each for each in code[at:]]])
    assert edited.entries == tuple((first, entry + (entry >= at)) for first, entry in program.entries)
    assert edited.cycles(200) == program.cycles(200)
    with pytest.raises(MareyError, match="a run begins"):
        with_instructions(program, code[:at])
