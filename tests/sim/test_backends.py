"""All backends behave as one tile: the same answers and cycles, and the golden model's tokens."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from marey.hdl.spec.config import Config, preset
from marey.hdl.spec.packing import pack_program
from marey.hdl.spec.protocol import Space
from marey.hdl.timing import ProgramError
from marey.sim import pysim, verilator
from marey.sim.backends import open_transport
from marey.sim.simulation import BackendError, ScheduleFault
from marey.sw.compiler.compile import compile_model, compile_quantised
from marey.sw.compiler.integers import integers_for
from marey.sw.compiler.layout import CompileError
from marey.sw.formats import load_model, load_tokenizer
from marey.sw.formats.tiny import tiny_model as make_model
from marey.sw.formats.tiny import tiny_tokenizer
from marey.sw.model.config import ModelConfig
from marey.sw.model.families import graph_of
from marey.sw.program.program import Program
from marey.sw.quant.golden import Golden
from marey.sw.quant.quantise import quantise
from marey.sw.runtime.driver import Device
from marey.sw.runtime.generate import generate
from marey.sw.runtime.link import Link
from marey.sw.runtime.session import ScheduleError
from marey.sw.views.bench import bench
from tests.configs import CONFIGS, INT4, LONG_TOKENS, MODELS, ONE_PORT, ROOMY, codes, op
from tests.greedy import greedy_steps
from tests.models import without_gains


def golden_tokens(model, prompt, count, bits=8):
    """The `count` greedy tokens that the golden model puts behind a prompt."""
    golden, tokens = Golden(quantise(model, bits)), list(prompt)
    for position in range(len(prompt) + count - 1):
        token = int(golden.step(np.array([tokens[position]]), position)[0].argmax())
        if position + 1 >= len(tokens):
            tokens.append(token)
    return tokens[len(prompt):]


@pytest.fixture(scope="module")
def tiny_on(tiny_model):
    """A function: the program of the tiny model on a preset."""
    return cache(lambda name: compile_model(tiny_model, preset(name), tiny_tokenizer()))


def run(program, backend, prompt, steps):
    with Device(open_transport(program.config, backend), program.config) as device:
        device.load(program)
        return generate(device, program, prompt, steps)


@pytest.mark.parametrize(("name", "backend"), [
    ("tiny4x8", "emulator"), ("tiny4x8", "verilator"), ("tiny4x4", "verilator"), ("sim4x4", "emulator"), ("sim8x8",
    "verilator"),
])
def test_tokens_are_the_golden_models(compiler, tiny_model, tiny_on, name, backend):
    program = tiny_on(name)
    result = run(program, backend, "once upon a time", 4)
    assert result.tokens == golden_tokens(tiny_model, result.prompt_tokens, 4)
    assert result.measured_cycles == result.predicted_cycles
    assert [step.predicted_cycles for step in result.steps] == [
        program.cycles(step.position, step.position >= len(result.prompt_tokens) - 1) for step in result.steps]


def first_steps(model, program, backend, count):
    """The first `count` steps of a model in a backend, each compared with the golden model."""
    with Device(open_transport(program.config, backend), program.config) as device:
        device.load(program)
        return list(greedy_steps(program, model, device, count))


@pytest.mark.parametrize("shape", MODELS, ids=MODELS.get)
def test_every_backend_agrees(compiler, shape):
    """Golden, emulator and Verilator: logits, choices and cycles."""
    model = quantise(make_model(shape))
    program = compile_quantised(model, LONG_TOKENS)
    assert first_steps(model, program, "emulator", 8) == first_steps(model, program, "verilator", 8)


def test_a_vocabulary_of_more_than_16_bits(compiler):
    """Tokens above 65,535 are given, looked up, chosen and sent, on the RTL and in the emulator."""
    shape = ModelConfig(dim=8, hidden_dim=8, n_layers=1, n_heads=2, n_kv_heads=1, vocab_size=131_000, seq_len=8,
                        tied=False)
    model = quantise(make_model(shape))
    with pytest.raises(CompileError, match="choose a tile with token_bits=17"):
        compile_quantised(model, replace(LONG_TOKENS, token_bits=16))
    program = compile_quantised(model, LONG_TOKENS)
    found = {}
    for backend in ("emulator", "verilator"):
        with Device(open_transport(LONG_TOKENS, backend), LONG_TOKENS) as device:
            device.load(program)
            steps = found[backend] = list(greedy_steps(program, model, device, 4, first=130_999))
    assert found["emulator"] == found["verilator"]
    assert any(token > 65_535 for token, _ in steps)


@pytest.mark.parametrize("shape", [
    *(pytest.param(shape, marks=pytest.mark.slow, id=MODELS[shape]) for shape in list(MODELS)[:-1]),
    pytest.param(list(MODELS)[-1], id=MODELS[list(MODELS)[-1]])])
def test_amaranths_simulator_agrees(shape):
    """With golden model and emulator, for two tokens. It takes 20 seconds to load a model of the larger shapes."""
    model = quantise(make_model(shape))
    program = compile_quantised(model, ROOMY[0])
    assert first_steps(model, program, "pysim", 2) == first_steps(model, program, "emulator", 2)


@pytest.mark.parametrize("config", [
    ROOMY[1], ROOMY[3], INT4[0], ONE_PORT[1], ONE_PORT[3],
    # Quick tests of streamed models run on tiles like these.
    pytest.param(ROOMY[2], marks=pytest.mark.slow), pytest.param(INT4[3], marks=pytest.mark.slow),
], ids=lambda config: config.name)
def test_narrow_oblong_and_int4_tiles(compiler, config):
    """The RTL on unusual tiles: one lane, rows unlike columns, 4-bit weights, one port for weights.

    The 4-bit weights are in groups, or all of a matrix on one grid, in a model without gains.
    """
    for made in (make_model(next(iter(MODELS))), without_gains(make_model(list(MODELS)[4]))):
        model = quantise(made, config.weight_bits, cache_bits=config.cache_bits)
        program = compile_quantised(model, config)
        with Device(open_transport(config, "verilator"), config) as device:
            device.load(program)
            assert len(list(greedy_steps(program, model, device, 10))) == 10


def test_a_run_of_many_tokens(compiler, tiny_on):
    """The host gets the ids and nothing else, and they are those that one run for each token
    gives."""
    program = tiny_on("sim8x8")
    with Device(open_transport(program.config, "verilator"), program.config) as device:
        device.load(program)
        words, shown = device.link.words_received, []
        tokens = device.run(1, 0, 20, show=shown.append)
        # The answers to START and WAIT, and a frame of five words for each token.
        assert device.link.words_received - words == 3 + 20 * 5 + 6
        token, single = 1, []
        for position in range(20):
            (token,) = device.run(token, position)
            single.append(token)
    assert tokens == shown == single


def test_cycles_do_not_depend_on_data(compiler, tiny_on):
    """A thousand runs at one position, with tokens from all of the vocabulary, take one number of
    cycles."""
    program = tiny_on("sim8x8")
    rng, seen = np.random.default_rng(0), set()
    with Device(open_transport(program.config, "verilator"), program.config) as device:
        device.load(program)
        for position in range(9):
            device.run(int(rng.integers(384)), position)
        for _ in range(1000):
            before = device.tally.measured
            device.run(int(rng.integers(384)), 9)
            seen.add(device.tally.measured - before)
    assert seen == {program.cycles(9)}


@pytest.mark.parametrize(("name", "bound"), [
    ("sim8x8", 0.90), ("sim4x4", 0.97), ("ecp5_8x16", 0.54), pytest.param("sim8x8_int4", 0.76, marks=pytest.mark.slow)])
def test_stories(compiler, stories, name, bound):
    """A real model on the RTL, at the first 256 positions or at all for which there is room: golden logits, predicted
    cycles, and a high utilisation."""
    config, tokenizer = preset(name), load_tokenizer(None, stories, 512)
    loaded = load_model(stories)
    model = quantise(loaded, **integers_for(config, loaded.config, loaded))
    program = compile_quantised(model, config, tokenizer, stories.name)
    positions = range(min(256, program.model.context))
    floor = sum(-(-model.graph.macs(position) // program.config.macs) for position in positions)
    with Device(open_transport(program.config, "verilator"), program.config) as device:
        device.load(program)
        assert len(list(greedy_steps(program, model, device, len(positions)))) == len(positions)
        assert device.tally.measured == device.tally.predicted == sum(program.cycles(position) for position in positions)
        assert floor / device.tally.measured >= bound
        if name == "sim8x8":
            result = generate(device, program, "Once upon a time", 64)
            assert result.text.startswith("Once upon a time, there was a little girl named Lily.")


@pytest.mark.slow
def test_the_shape_of_stories15m(compiler):
    """Fifteen million random weights, resident: over 256 positions the MAC floor is at least 90 %
    of the cycles."""
    shape = ModelConfig(dim=288, hidden_dim=768, n_layers=6, n_heads=6, n_kv_heads=6, vocab_size=32000, seq_len=256)
    config = Config(name="stories15M", rows=8, cols=8, lanes=8, wram_depth=1 << 18, mem_depth=1 << 14)
    model = quantise(make_model(shape))
    program = compile_quantised(model, config)
    floor = sum(-(-graph_of(shape).macs(position) // config.macs) for position in range(256))
    with Device(open_transport(config, "verilator"), config) as device:
        device.load(program)
        assert len(list(greedy_steps(program, model, device, 256))) == 256
        assert device.tally.measured == device.tally.predicted == sum(program.cycles(position) for position in range(256))
    print(f"{floor / device.tally.measured:.1%} of the MACs' floor, positions 0 to 255")
    assert floor / device.tally.measured >= 0.9


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


def test_cycles_on_the_link_are_words(compiler, tiny_on):
    """Loading weights takes one cycle for each word over the link, and a few more for each
    frame."""
    config = preset("sim8x8")
    program = tiny_on("sim8x8")
    with Device(open_transport(config, "verilator"), config) as device:
        cycles, words = device.transport.cycles, device.link.words_sent + device.link.words_received
        device.load(program)
        cycles = device.transport.cycles - cycles
        words = device.link.words_sent + device.link.words_received - words
    assert words > 20000
    assert cycles <= words * 1.002


def test_a_lie_about_cycles_is_an_error(compiler, tiny_on, monkeypatch):
    program = tiny_on("sim8x8")
    monkeypatch.setattr(Program, "run_cycles", lambda *_: 1)
    with pytest.raises(ScheduleError, match="predicted"):
        run(program, "verilator", "", 1)


@pytest.mark.parametrize("opener", [lambda config: verilator.open_tile(config, checked=True), pysim.open_tile])
def test_a_broken_promise_is_an_error(compiler, opener):
    """An MXM whose results no VXM takes fails an assertion of the tile."""
    from marey.hdl.spec.packing import pack_program
    from marey.hdl.spec.protocol import Space
    config = CONFIGS[0]
    mxm = op(config, "MXM", 40, inner=2, outer=1)
    encoded = codes(config, [mxm, op(config, "HALT")])
    link = Link(opener(config), config)
    link.write(Space.PROGRAM, 0, pack_program(config, encoded))
    with pytest.raises(ScheduleFault, match=r"vxm.dropped"):
        link.start(0)
        link.wait()


def test_unchecked_simulation_counts_the_fault(compiler):
    config = CONFIGS[0]
    mxm = op(config, "MXM", 40, inner=2, outer=3)
    encoded = codes(config, [mxm, op(config, "HALT")])
    link = Link(verilator.open_tile(config), config)
    link.write(Space.PROGRAM, 0, pack_program(config, encoded))
    link.start(0)
    assert link.wait()[1] == 3


def test_a_closed_simulation_says_so(compiler):
    transport = verilator.open_tile(CONFIGS[0])
    transport.close()
    transport.close()
    with pytest.raises(BackendError, match="closed"):
        transport.receive(1)


def test_a_trace_has_the_ports(compiler, tmp_path):
    with verilator.open_tile(CONFIGS[0], trace=tmp_path / "ports.vcd") as transport:
        Link(transport, CONFIGS[0])
    text = (tmp_path / "ports.vcd").read_text()
    assert "rx__valid" in text and "#100" in text


def test_programs_are_checked_before_they_run():
    with pytest.raises(ProgramError):
        Program.from_instructions(CONFIGS[0], [op(CONFIGS[0], "NOP")])
