"""All backends are one tile: the same traffic, the same answers, the same cycles, and the golden model's tokens."""

import subprocess

import numpy as np
import pytest

from marey.hdl.config import preset
from marey.sim import pysim, verilator
from marey.sim.backends import default_backend, open_transport
from marey.sim.simulation import BackendError, ScheduleFault
from marey.sw.bench import bench
from marey.sw.driver import Device, ScheduleError
from marey.sw.formats import load_model, load_tokenizer
from marey.sw.generate import generate
from marey.sw.golden import Golden, linear
from marey.sw.program import Program, compile_model
from marey.sw.quantise import quantise
from marey.sw.tiny import SHAPE, tiny_tokenizer
from tests.configs import CONFIGS


def golden_tokens(model, prompt, count, bits=8):
    """Greedy tokens of the golden model alone."""
    golden, tokens = Golden(quantise(model, bits)), list(prompt)
    for position in range(len(prompt) + count - 1):
        token = int(golden.step(np.array([tokens[position]]), position)[0].argmax())
        if position + 1 >= len(tokens):
            tokens.append(token)
    return tokens[len(prompt):]


def run(program, backend, prompt, steps):
    with Device(open_transport(program.config, backend), program.config) as device:
        device.load(program)
        return generate(device, program, prompt, steps)


@pytest.mark.parametrize(("name", "backend"), [
    ("tiny4x8", "emulator"), ("tiny4x8", "verilator"), ("tiny4x4", "verilator"), ("sim4x4", "emulator"),
    ("ecp5_8x8", "emulator"), ("sim8x8", "verilator"),
])
def test_tokens_are_the_golden_models(compiler, tiny_model, name, backend):
    """Resident and streamed, in every preset."""
    program = compile_model(tiny_model, preset(name), tiny_tokenizer())
    result = run(program, backend, "once upon a time", 4)
    assert result.tokens == golden_tokens(tiny_model, result.prompt_tokens, 4)
    assert result.measured_cycles == result.predicted_cycles == len(result.steps) * program.token_cycles
    macs = SHAPE.linear_macs
    assert result.mac_floor_cycles == len(result.steps) * -(-macs // program.config.macs)


def test_amaranths_simulator_says_the_same(tiny_model):
    """One token is enough: its simulator is slow."""
    program = compile_model(tiny_model, preset("tiny4x8"), tiny_tokenizer())
    slow, fast = (run(program, backend, "", 1) for backend in ("pysim", "emulator"))
    assert slow == fast


def test_stories(compiler, stories):
    """The issue of it all: 64 greedy tokens of a real model through the RTL, tokens the golden model's, cycles as predicted."""
    model, tokenizer = load_model(stories), load_tokenizer(None, stories, 512)
    program = compile_model(model, preset("sim8x8"), tokenizer, stories.name)
    operations = quantise(model).linears
    runs = 0

    class Checked(Device):
        def linear(self, name, x):
            """Every run of the tile, bit for bit."""
            nonlocal runs
            runs += 1
            y = super().linear(name, x)
            assert np.array_equal(y, linear(operations[name], x)), (runs, name)
            return y

    with Checked(open_transport(program.config, "verilator"), program.config) as device:
        device.load(program)
        result = generate(device, program, "Once upon a time", 64)
    assert runs == 21 * len(result.steps) == device.tally.runs
    assert len(result.tokens) == 64
    assert result.tokens == golden_tokens(model, result.prompt_tokens, 64)
    assert all(step.predicted_cycles == step.measured_cycles == program.token_cycles for step in result.steps)
    assert result.text.startswith("Once upon a time, there was a little girl named Lily. She loved to play")


BOUNDS = {"gemv_512x512": 0.97, "gemv_64x64": 0.60, "gemv_172x64": 0.70, "gemv_64x172": 0.70,
          "gemm_64x64x64": 0.95, "gemm_128x128x128": 0.98}


@pytest.mark.parametrize("name", ["sim8x8", "sim4x4", "ecp5_8x8", "tiny4x4", "tiny4x8"])
def test_benchmark(compiler, name):
    """Utilisation, fill and drain included, in cycles that the RTL counted."""
    config = preset(name)
    rows = list(bench(config, lambda: Device(open_transport(config, "verilator"), config)))
    assert len(rows) == len(BOUNDS)
    for row, (shape, bound) in zip(rows, BOUNDS.items(), strict=True):
        assert row.predicted_cycles == row.measured_cycles
        assert row.utilisation >= bound, (shape, row)
        assert row.utilisation == row.macs / config.macs / row.measured_cycles
    if name == "sim8x8":
        assert [row.name for row in rows] == list(BOUNDS)


def test_cycles_on_the_link_are_words(compiler, tiny_model):
    """Loading weights takes no more cycles than words over the link, but for a few a frame."""
    config = preset("sim8x8")
    program = compile_model(tiny_model, config, tiny_tokenizer())
    with Device(open_transport(config, "verilator"), config) as device:
        cycles, words = device.transport.cycles, device.link.words_sent + device.link.words_received
        device.load(program)
        cycles = device.transport.cycles - cycles
        words = device.link.words_sent + device.link.words_received - words
    assert words > 20000
    assert cycles <= words * 1.002


def test_a_lie_about_cycles_is_an_error(compiler, tiny_model):
    from dataclasses import replace

    program = compile_model(tiny_model, preset("sim8x8"), tiny_tokenizer())
    segments = [replace(segment, cycles=segment.cycles + 1) for segment in program.segments]
    with pytest.raises(ScheduleError, match="predicted"):
        run(replace(program, segments=segments), "verilator", "", 1)


@pytest.mark.parametrize("opener", [lambda config: verilator.open_tile(config, checked=True), pysim.open_tile])
def test_a_broken_promise_is_an_error(compiler, opener):
    """An MXM that nobody listens to fails an assertion of the tile."""
    from marey.hdl.isa import Address, Instruction, Op
    from marey.hdl.packing import pack_program
    from marey.hdl.protocol import Space
    from marey.sw.link import Link
    from marey.sw.lowering import Group

    config = CONFIGS[0]
    mxm = Instruction(Op.MXM, 40, {"act": Address(0), "wgt": Address(0), "inner": 2, "outer": 1, "act_step": 0, "wgt_step": 0})
    codes = Group([mxm, Instruction(Op.HALT)], None, None, 0).codes(config)
    link = Link(opener(config), config)
    link.write(Space.PROGRAM, 0, pack_program(config, codes))
    with pytest.raises(ScheduleFault, match=r"vxm.dropped"):
        link.start(0)
        link.wait()


def test_unchecked_simulation_counts_the_fault(compiler):
    from marey.hdl.isa import Address, Instruction, Op
    from marey.hdl.packing import pack_program
    from marey.hdl.protocol import Space
    from marey.sw.link import Link
    from marey.sw.lowering import Group

    config = CONFIGS[0]
    mxm = Instruction(Op.MXM, 40, {"act": Address(0), "wgt": Address(0), "inner": 2, "outer": 3, "act_step": 0, "wgt_step": 0})
    codes = Group([mxm, Instruction(Op.HALT)], None, None, 0).codes(config)
    link = Link(verilator.open_tile(config), config)
    link.write(Space.PROGRAM, 0, pack_program(config, codes))
    link.start(0)
    assert link.wait()[1] == 3


def test_a_closed_simulation_says_so(compiler):
    transport = verilator.open_tile(CONFIGS[0])
    transport.close()
    transport.close()
    with pytest.raises(BackendError, match="closed"):
        transport.receive(1)


def test_no_compiler_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    verilator.tools.cache_clear()
    try:
        missing = verilator.available()
    finally:
        verilator.tools.cache_clear()
    assert "C++ compiler" in missing and "\n" not in missing


def test_without_a_compiler_the_emulator_runs(monkeypatch, capsys):
    monkeypatch.setattr(verilator, "available", lambda: "no C++ compiler on PATH: install one")
    assert default_backend() == "emulator"
    assert capsys.readouterr().err.splitlines() == ["marey: running the emulator: no C++ compiler on PATH: install one"]


def test_a_failed_build_names_its_log(compiler, monkeypatch, tmp_path):
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path))
    with pytest.raises(BackendError, match="see ") as caught:
        verilator.build("module marey_tile(; endmodule", "nothing")
    (log,) = tmp_path.glob("*.log")
    assert str(log) in str(caught.value) and "rror" in log.read_text()


def test_a_trace_has_the_ports(compiler, tmp_path):
    from marey.sw.link import Link

    with verilator.open_tile(CONFIGS[0], trace=tmp_path / "ports.vcd") as transport:
        Link(transport, CONFIGS[0])
    text = (tmp_path / "ports.vcd").read_text()
    assert "rx__valid" in text and "#100" in text


def test_programs_are_checked_before_they_run():
    from marey.hdl.isa import Instruction, Op
    from marey.hdl.timing import ProgramError

    with pytest.raises(ProgramError):
        Program.from_instructions(CONFIGS[0], [Instruction(Op.NOP)])


def test_verilator_is_the_same_from_either_place(compiler):
    """Whatever Verilator was found can be run."""
    kit = verilator.tools()
    assert subprocess.run([kit.verilator, "--version"], env=kit.environment, capture_output=True).returncode == 0
