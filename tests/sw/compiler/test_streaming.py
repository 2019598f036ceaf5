"""Streaming: a model larger than the tile makes the tokens that it makes on a larger tile, in the
predicted cycles."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from marey.hdl.spec.config import Config, preset
from marey.hdl.timing import ProgramError, check
from marey.sim import pysim, verilator
from marey.sim.endpoint import Endpoint
from marey.sw.compiler.compile import compile_model, compile_quantised
from marey.sw.compiler.layout import CompileError, Layout
from marey.sw.compiler.streamed import StreamedLayout
from marey.sw.formats import load_model
from marey.sw.formats.tiny import tiny_model, tiny_tokenizer
from marey.sw.model.config import ModelConfig
from marey.sw.program.assembly import assemble
from marey.sw.program.program import Program, ProgramFileError
from marey.sw.program.verified import verify
from marey.sw.quant.outline import outline_of_shape
from marey.sw.quant.quantise import quantise
from marey.sw.runtime.driver import Device
from marey.sw.runtime.generate import generate
from marey.sw.views.report import report
from tests.configs import MODELS, ROOMY, any_shape
from tests.greedy import greedy_steps

GROUPED = next(iter(MODELS))
LARGE = {"wram_depth": 1 << 16, "mem_depth": 1 << 14}
COMPACT = Config(name="c2", rows=2, cols=2, lanes=1, wram_depth=400, mem_depth=600, compact=1)


@pytest.fixture(scope="module")
def model():
    return quantise(tiny_model(GROUPED))


def tokens(program, model, count, transport=Endpoint):
    """The tokens of the first `count` positions, each compared with the golden model's."""
    with Device(transport(program.config), program.config) as device:
        device.load(program)
        return [token for token, _ in greedy_steps(program, model, device, count)]


def check_streamed(model, config, count=2):
    program = compile_quantised(model, config)
    assert program.mode == "streamed"
    resident = compile_quantised(model, replace(config, **LARGE))
    assert resident.mode == "resident"
    assert tokens(program, model, count) == tokens(resident, model, count)
    return program


@settings(max_examples=5, deadline=None, phases=set(Phase) - {Phase.shrink})
@given(data=st.data())
def test_any_shape(data):
    shape = data.draw(any_shape(30))
    config = replace(data.draw(st.sampled_from(ROOMY)), mem_depth=1 << 14)
    # W-RAM from the smallest with which the model can be streamed, but too small for it to be resident.
    outline = outline_of_shape(shape)
    least = StreamedLayout(replace(config, **LARGE), outline, max(config.block, 16))
    widest = max(matrix.inner for matrix in least.matrices.values())
    config = replace(config, wram_depth=least.buffer + 2 * widest + data.draw(st.integers(0, 6 * widest)))
    assume(Layout(config, outline, min(shape.seq_len, 16)).words > config.wram_depth)
    check_streamed(quantise(tiny_model(shape)), config, min(2, shape.seq_len))


@pytest.mark.parametrize(("depth", "chunked"), [(100, True), (400, False)])
def test_chunks_and_whole_layers(model, depth, chunked):
    program = check_streamed(model, replace(ROOMY[0], wram_depth=depth))
    assert any(section.chunks > 1 for section in program.stream.sections) == chunked


def test_chunks_that_are_no_whole_words():
    """The queries begin with a MEM word, even if the buffer before them ends within a word: chunks
    have three results."""
    shape = ModelConfig(dim=48, hidden_dim=14, n_layers=3, n_heads=6, n_kv_heads=2, vocab_size=51, seq_len=29, tied=False)
    program = check_streamed(quantise(tiny_model(shape)), replace(ROOMY[3], wram_depth=132))
    assert any(section.words % 4 for section in program.stream.sections)


def test_logits_that_do_not_fit():
    """The host collects them chunk by chunk, and chooses as the tile would: of equal logits, the
    first."""
    # With so large a vocabulary, the logits need more MEM than the buffers whose place they share.
    model = quantise(tiny_model(replace(GROUPED, vocab_size=500)))
    config = replace(ROOMY[0], wram_depth=100)
    whole = compile_quantised(model, config)
    assert whole.stream.chunk_logits == 0
    words = -(-whole.model.granules // config.granules_per_word)
    program = check_streamed(model, replace(config, mem_depth=words - 1))
    assert program.stream.chunk_logits


def test_of_equal_logits_the_first_is_chosen(model):
    """The same holds if the logits are in one chunk or in several, and if the tile or the host
    chooses."""
    linear = model.linears["classifier"]
    same = replace(model, linears=model.linears | {"classifier": replace(linear, weight=np.zeros_like(linear.weight))})
    for mem_depth in (ROOMY[0].mem_depth, 200):
        program = compile_quantised(same, replace(ROOMY[0], wram_depth=100, mem_depth=mem_depth))
        assert set(tokens(program, same, 2)) == {0}


@pytest.mark.parametrize("config", [
    replace(ROOMY[2], wram_depth=200), COMPACT, pytest.param(replace(ROOMY[0], wram_depth=100), marks=pytest.mark.slow),
    pytest.param(replace(ROOMY[3], wram_depth=100), marks=pytest.mark.slow)], ids=lambda config: config.name)
def test_on_the_rtl(model, config, compiler):
    """Weights arrive over the link while the tile computes, and no run takes a cycle more for
    it."""
    program = compile_quantised(model, config)
    assert program.stream
    assert tokens(program, model, 3, verilator.open_tile) == tokens(program, model, 3)


def test_in_amaranths_simulator():
    shape = ModelConfig(dim=8, hidden_dim=12, n_layers=1, n_heads=1, n_kv_heads=1, vocab_size=9, seq_len=8)
    model = quantise(tiny_model(shape))
    program = compile_quantised(model, replace(ROOMY[0], wram_depth=24, mem_depth=128))
    assert program.stream
    assert tokens(program, model, 1, pysim.open_tile) == tokens(program, model, 1)


def test_several_tokens_a_call_and_prompts(model):
    program = compile_quantised(model, replace(ROOMY[0], wram_depth=200))
    with Device(Endpoint(program.config), program.config) as device:
        device.load(program)
        one_by_one = []
        for position in range(4):
            one_by_one += device.run(one_by_one[-1] if one_by_one else 1, position)
        shown = []
        assert device.run(1, 0, 4, show=shown.append) == one_by_one == shown
        # A host that finds the program loaded must still send the segments.
        device.adopt(program)
        assert device.run(1, 0, 4) == one_by_one
        before = device.tally.runs, device.tally.predicted
        assert device.run(1, 0, 0) == []
        assert device.tally.runs - before[0] == sum(times for _, times in program.stream.counted(False))
        assert device.tally.predicted - before[1] == program.cycles(0, wanted=False) < program.cycles(0)


def test_link_words_are_as_predicted(model):
    for mem_depth in (ROOMY[0].mem_depth, 200):
        program = compile_quantised(model, replace(ROOMY[0], wram_depth=100, mem_depth=mem_depth))
        with Device(Endpoint(program.config), program.config) as device:
            device.load(program)
            device.run(1, 0)
            before = device.tally.link_words
            device.run(1, 1)
            assert device.tally.link_words - before == program.link_words()


def test_program_file(tmp_path):
    shape = replace(GROUPED, vocab_size=384)
    program = compile_model(tiny_model(shape), replace(ROOMY[0], wram_depth=200), tiny_tokenizer(), "tiny")
    path = tmp_path / "tiny.marey"
    program.save(path)
    loaded = Program.load(path)
    texts = []
    for each in (program, loaded):
        with Device(Endpoint(each.config), each.config) as device:
            device.load(each)
            texts.append(generate(device, each, "once", 3))
    assert texts[0] == texts[1] and loaded.summary() == program.summary()
    assert assemble(program.config, "\n".join(program.listing())) == program.image.instructions
    short = replace(program, stream=replace(program.stream, weights=program.stream.weights[1:]))
    short.save(path)
    with pytest.raises(ProgramFileError, match="damaged"):
        Program.load(path)


def test_every_section_is_verified(model):
    """`verify` finds a wait that is too short in any section."""
    program = compile_quantised(model, replace(ROOMY[0], wram_depth=200))
    for section in program.stream.sections:
        entry, instructions = section.entry, list(program.image.instructions)
        at = max(range(entry, len(instructions)), key=lambda pc: instructions[pc].wait * (
            pc < min([other.entry for other in program.stream.sections if other.entry > entry], default=len(instructions))))
        instructions[at] = replace(instructions[at], wait=0)
        with pytest.raises(ProgramError):
            verify(replace(program, image=replace(program.image, instructions=instructions)))


def test_every_layer_and_chunk_stays_in_bounds(model):
    """The rules hold for every operand that a section is started with, not only for those that
    `verify` tries."""
    program = compile_quantised(model, replace(ROOMY[0], wram_depth=100))
    stream = program.stream
    for run in stream.runs():
        for half in (0, 1):
            check(program.config, program.image.instructions, run.section.entry, position=15, count=int(run.section.chooses),
                  token=stream.operand(run, half, 15))


def test_report(model):
    program = compile_quantised(model, replace(ROOMY[0], wram_depth=200))
    result = report(program, 5)
    assert result["mode"] == "streamed" and result["cycles"] == program.cycles(5)
    assert sum(row["cycles"] for row in result["phases"]) == result["cycles"]
    assert sum(row["mac_floor_cycles"] for row in result["phases"]) == pytest.approx(result["mac_floor_cycles"])


def test_models_that_cannot_be_streamed_are_refused(model):
    for config in (replace(ROOMY[0], wram_depth=40), replace(ROOMY[0], wram_depth=100, mem_depth=60)):
        with pytest.raises(CompileError, match=r"streamed, .*: choose a larger configuration") as caught:
            compile_quantised(model, config)
        assert "\n" not in str(caught.value)
    with pytest.raises(CompileError, match="needs a second port"):
        compile_quantised(model, replace(ROOMY[0], wram_depth=100, wram_ports=1))
    with pytest.raises(CompileError, match="streamed, the program has"):
        compile_quantised(model, replace(ROOMY[0], wram_depth=100, program_depth=40))


def test_stories(stories):
    """On a tile with a third of the W-RAM that the model needs, it makes the same tokens in at most
    8 % more cycles: sections that follow one another in one program go on from one another."""
    model, config = quantise(load_model(stories)), preset("ecp5_8x8")
    program = compile_quantised(model, config)
    resident = compile_quantised(model, replace(config, wram_depth=8192))
    assert (program.mode, resident.mode) == ("streamed", "resident") and program.model.context == 128
    assert tokens(program, model, 2) == tokens(resident, model, 2)
    for position in (0, 63):
        assert resident.cycles(position) < program.cycles(position) < 1.08 * resident.cycles(position)


@pytest.mark.slow
def test_a_story_on_the_rtl(stories, compiler):
    model = quantise(load_model(stories))
    program = compile_quantised(model, preset("ecp5_8x8"))
    assert len(tokens(program, model, program.model.context, verilator.open_tile)) == program.model.context
    # Sixteen positions of the cache take 80 words, and two buffers for one result of the widest matrix 2 x
    # 22.
    with pytest.raises(CompileError, match="streamed, 80 W-RAM words for the KV cache, 2 x 22 for weights"):
        compile_quantised(model, replace(preset("ecp5_8x8"), wram_depth=123))
