"""The timetable that is drawn: every operation once, sums as the emulator counts them, measured as planned."""

import json
import os
import re
from collections import Counter
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marey.hdl.spec.config import preset
from marey.hdl.spec.isa import Op
from marey.hdl.timing import PROBED, ROWS, trace
from marey.sim.endpoint import Endpoint
from marey.sw.compiler.compile import compile_model
from marey.sw.compiler.matmul import matmul
from marey.sw.formats import DEFAULT_MODEL, load_model
from marey.sw.formats.tiny import tiny_model as make_tiny
from marey.sw.model.config import ModelConfig
from marey.sw.model.graph import Phase
from marey.sw.runtime.driver import Device
from marey.sw.views.entries import entries
from marey.sw.views.gaps import gaps
from marey.sw.views.measure import measure
from marey.sw.views.page import page
from marey.sw.views.perfetto import trace_events
from marey.sw.views.timetable import chart, runs, text
from tests.configs import CONFIGS
from tests.faults import moved
from tests.sw.commands import marey, refused


@pytest.fixture(scope="module")
def program(tiny_model):
    return compile_model(tiny_model, preset("sim8x8"), name="tiny")


@pytest.fixture(scope="module")
def default_program():
    return compile_model(load_model(DEFAULT_MODEL), preset("sim8x8"), name="stories")


@pytest.mark.parametrize("position", [0, 20, 127])
def test_every_head_is_named_once_in_each_layer(default_program, position):
    """Whichever groups the heads go in behind the scores: their exponentials, their sums' reciprocals, the products with the
    values, and what takes their results."""
    shape, named = default_program.model.shape, {}
    for entry in entries(default_program, position):
        operation = entry.issue.instruction.operation
        if operation in ("softmax", "values") and entry.issue.op in (Op.VXM, Op.MXM, Op.SFU):
            named.setdefault((entry.layer, operation, entry.issue.op), []).extend(entry.heads)
    assert len(named) == 4 * shape.n_layers
    for names in named.values():
        assert sorted(names) == sorted(f"head {head}" for head in range(shape.n_heads))


def test_a_tile_with_one_port_and_one_bank():
    """What its units share is no row of the timetable."""
    program = compile_model(load_model(DEFAULT_MODEL), preset("up5k_4x4"))
    assert len(dict(chart(program)["units"])) == len(ROWS)
    assert trace_events(program)["traceEvents"] and list(text(program))


def expanded(parts):
    return np.concatenate([np.arange(start, start + length) + stride * turn for runs in parts
                           for start, length, stride, count in runs for turn in range(count)])


@given(st.sets(st.integers(0, 60), min_size=1))
def test_runs_say_which_cycles(cycles):
    cycles = np.array(sorted(cycles))
    assert np.array_equal(expanded([runs(cycles)]), cycles)


def test_every_operation_is_drawn_once_and_sums_are_the_emulators(program):
    """What is expanded from the chart is what the timing description says, issue by issue and cycle by cycle."""
    drawn = json.loads(json.dumps(chart(program, 5, 12)))
    units = [unit for unit, _ in drawn["units"]]
    issued, busy, cycles = [], Counter(), Counter()
    for start, _, template in drawn["tokens"]:
        for pc, cycle, form, _ in drawn["templates"][template]["operations"]:
            issued.append((start + cycle, pc))
            for unit, parts in drawn["forms"][form]:
                at = expanded(parts) + start + cycle
                busy[units[unit]] += len(at)
                cycles[units[unit]] += int(at.sum())
    expected = list(entries(program, 5, 12))
    assert sorted(issued) == [(operation.issue.cycle, operation.issue.pc) for operation in expected]
    assert len({cycle for cycle, _ in issued}) == len(issued)
    assert all(cycles[unit] == sum(int(operation.cycles(unit).sum()) for operation in expected) for unit in units)
    emulator = Endpoint(program.config)
    with Device(emulator, program.config) as device:
        device.load(program)
        device.run(1, 5, 12)
        assert busy.pop("issue") == len(issued)
        assert busy == emulator.tile.busy
        assert drawn["cycles"] == emulator.tile.cycles == program.run_cycles(5, 12)


def test_templates_are_shared(program):
    """Of many tokens only those with other numbers of blocks, and the last of each run, differ."""
    drawn = chart(program, 0, 64)
    assert len(drawn["tokens"]) == 64 and len(drawn["templates"]) <= 64 // program.config.block + len(program.parts(0, 64))
    assert [token[1] for token in drawn["tokens"]] == list(range(64))


def test_the_listing_and_the_timetable_say_the_same_cycles(program):
    """Of every instruction, for its first issue at the first position of its range."""
    said, pattern = {}, re.compile(r"; (\d+).* @ cycle (\d+)(?:, )?(.*)$")
    for line in program.listing():
        if match := pattern.search(line):
            said[int(match[1])] = (int(match[2]), match[3])
    shown = {}
    for position, _ in program.entries:
        for entry, line in zip(entries(program, position), list(text(program, position))[1:], strict=True):
            shown.setdefault(entry.issue.pc, (entry.issue.cycle, line[56:].strip()))
    assert said == shown and len(said) > 20
    assert sum("VXM" in when for _, when in said.values()) == sum(
        instruction.op is Op.VXM for instruction in program.image.instructions)


def test_a_token_of_many_takes_what_it_takes_alone_but_for_the_start_and_the_end_of_a_run(program):
    """The figures of a page agree with `Program.cycles`, and with those of the run."""
    drawn = chart(program, 0, 20)
    assert drawn["cycles"] == program.run_cycles(0, 20) == sum(
        drawn["templates"][template]["cycles"] for _, _, template in drawn["tokens"])
    differences = set()
    for _, position, template in drawn["tokens"]:
        found = drawn["templates"][template]
        assert found["alone"] == program.cycles(position)
        assert chart(program, position)["cycles"] == found["alone"]
        differences.add(found["alone"] - found["cycles"])
    # All but the last token leave out the same few cycles; the last one ends the run.
    assert len(differences) == 2 and 0 in differences and max(differences) < 5


@pytest.fixture(scope="module")
def streamed():
    shape = ModelConfig(dim=32, hidden_dim=64, n_layers=12, n_heads=4, n_kv_heads=4, vocab_size=384, seq_len=16, tied=False)
    program = compile_model(make_tiny(shape), preset("ecp5_8x8"), name="long")
    assert program.stream
    return program


def test_a_streamed_token_is_its_runs_one_after_another(streamed):
    drawn = chart(streamed, 3, 2)
    assert [position for _, position, _ in drawn["tokens"]] == [3, 4]
    assert drawn["cycles"] == streamed.cycles(3) + streamed.cycles(4)
    found = drawn["templates"][drawn["tokens"][0][2]]
    assert found["cycles"] == found["alone"] == streamed.cycles(3)
    assert len(found["runs"]) == sum(times for *_, times in streamed.runs())
    assert [layer["name"] for layer in found["layers"]] == list(range(12))
    assert sum(gap[1] - gap[0] for gap in found["gaps"]) + sum(row["mxm"] for row in found["phases"]) == found["cycles"]
    lines = list(text(streamed, 3, 2))
    assert len(lines) == 1 + len(list(entries(streamed, 3, 2)))
    jsonschema.validate(json.loads(json.dumps(trace_events(streamed, 3, 2))), SCHEMA)


def test_every_instruction_of_an_operation_has_its_phase(program):
    named = {instruction.operation for instruction in program.image.instructions} - {""}
    assert named <= {operation.name for operation in program.graph.operations}
    assert {entry.phase for entry in entries(program)} == {phase.value for phase in Phase}
    names = [operation.name for operation in entries(program, 100)]
    assert "layer 1 softmax exp" in names and "classifier" in names and "layer 0 scores" in names
    layers = [operation.layer for operation in entries(program, 100) if operation.layer is not None]
    assert set(layers) == {0, 1} and layers == sorted(layers)


def test_gaps_are_all_the_cycles_in_which_the_mxm_is_idle(program):
    token = list(entries(program, 40))
    end = program.cycles(40)
    found = gaps(program, token, 0, end)
    beats = np.concatenate([operation.cycles("mxm") for operation in token])
    idle = np.concatenate([np.arange(gap.start, gap.end) for gap in found])
    assert np.array_equal(np.sort(np.concatenate([beats, idle])), np.arange(end))
    assert {gap.cause for gap in found} == {"data", "structure", "fill"} and all(gap.waits_for for gap in found)
    # A product of what a norm has made waits for just that.
    assert any(gap.cause == "data" and "norm: to int8" in gap.waits_for and "qk" in gap.before.name for gap in found)


def test_a_program_without_a_model():
    config = CONFIGS[0]
    program = compile_bare(config)
    drawn = chart(program)
    assert drawn["tokens"] == [[0, 0, 0]] and len(drawn["templates"][0]["operations"]) == len(program.image.instructions)
    assert len(list(text(program))) == 1 + len(program.image.instructions)


def compile_bare(config):
    from marey.sw.program.program import Program

    return Program.from_instructions(config, matmul(config, inner=2, outer=3, act=0, wgt=0, scale=8, dst=16, shift=8))


def test_measured_is_planned(compiler, program):
    """Every unit that the probe sees, in every cycle of three tokens."""
    found = measure(program, 6, 3)
    assert found.cycles == program.run_cycles(6, 3) and found.differences() == []
    assert all(len(found.units[unit]) for unit in PROBED)


def test_a_planted_fault_is_found_at_its_place(compiler, program):
    pc = next(at for at, instruction in enumerate(program.image.instructions)
              if instruction.note == "w3" and instruction.op is Op.MXM and instruction.wait)
    planned = next(issue for issue in trace(program.config, program.image.instructions, position=3) if issue.pc == pc)
    differences = measure(program, 3, image=moved(program, pc)).differences()
    assert (differences[0].cycle, differences[0].unit, differences[0].planned) == (planned.cycle, "issue", True)
    assert (differences[1].cycle, differences[1].unit, differences[1].planned) == (planned.cycle + 1, "issue", False)
    assert {difference.unit for difference in differences} >= {"issue", "mxm", "drain"}


def test_a_waveform_names_the_operations(compiler, program, tmp_path):
    found = measure(program, 3)
    found.write_vcd(tmp_path / "run.vcd", ["mxm", "sfu"])
    lines = (tmp_path / "run.vcd").read_text().splitlines()
    assert sum(line.startswith("$var") for line in lines) == 4
    assert any("layer\\x201\\x20softmax" in line for line in lines)
    first = int(found.units["mxm"][0])
    assert lines.index(f"#{first}") < lines.index(f"#{int(found.units['sfu'][0])}")


@pytest.mark.parametrize("good", [True, False])
def test_a_waveform_is_converted_or_left_as_it_was(compiler, program, tmp_path, monkeypatch, good):
    """By vcd2fst, for which a script stands here; it has written a half when it fails."""
    tool, file, wave = tmp_path / "bin" / "vcd2fst", tmp_path / "p.marey", tmp_path / "x.fst"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\n' + ('cat "$1" > "$2"\n' if good else 'echo half > "$2"; echo "no room" >&2; exit 1\n'))
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=os.pathsep)
    program.save(file)
    wave.write_text("old")
    command = ("timetable", file, "--position", 3, "--fst", wave)
    if good:
        assert marey(*command).exit_code == 0 and "layer\\x201\\x20softmax" in wave.read_text()
    else:
        refused(*command, word="no room")
        assert wave.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "p.marey", "x.fst"]


SCHEMA = {
    "type": "object", "required": ["traceEvents"],
    "properties": {
        "displayTimeUnit": {"enum": ["ms", "ns"]}, "otherData": {"type": "object"},
        "traceEvents": {"type": "array", "items": {
            "type": "object", "required": ["name", "ph", "pid", "tid"],
            "properties": {"name": {"type": "string"}, "ph": {"enum": ["X", "M"]}, "pid": {"type": "integer"},
                           "tid": {"type": "integer"}, "ts": {"type": "integer", "minimum": 0},
                           "dur": {"type": "integer", "minimum": 1}, "args": {"type": "object"}},
            "if": {"properties": {"ph": {"const": "X"}}}, "then": {"required": ["ts", "dur"]},
            "else": {"properties": {"name": {"enum": ["process_name", "thread_name"]}}, "required": ["args"]}}}},
}
"""Of the Trace Event Format: complete events, and names of processes and threads."""


def test_the_trace_is_well_formed_and_nests(program):
    made = json.loads(json.dumps(trace_events(program, 9, 2)))
    jsonschema.validate(made, SCHEMA)
    tracks = {}
    for event in made["traceEvents"]:
        if event["ph"] == "X":
            tracks.setdefault(event["tid"], []).append((event["ts"], -event["dur"], event["name"]))
    for events in tracks.values():
        open_until = []
        for start, minus, name in sorted(events):
            while open_until and open_until[-1] <= start:
                open_until.pop()
            assert not open_until or start - minus <= open_until[-1], name
            open_until.append(start - minus)
    busy = sum(-minus for _, minus, _ in tracks[2 + list(dict(chart(program)["units"])).index("mxm")])
    assert busy == sum(len(operation.cycles("mxm")) for operation in entries(program, 9, 2))
    assert "one microsecond" in made["otherData"]["unit"]


def test_a_name_cannot_end_the_script(program):
    made = page(replace(program, name="</script><b>"), 0)
    assert "</script><b>" not in made and made.count("</script>") == 2
