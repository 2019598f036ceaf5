"""Blocks of a prompt: several positions for one stream of weights leave what they leave one by one."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from marey.hdl.spec.config import preset
from marey.hdl.spec.errors import MareyError
from marey.sim import verilator
from marey.sim.endpoint import Endpoint
from marey.sw.cli.text import warn_of_no_blocks
from marey.sw.compiler.compile import compile_quantised, schedule
from marey.sw.compiler.layout import CompileError, Layout
from marey.sw.compiler.plan import lay_out_model
from marey.sw.formats.tiny import tiny_model, tiny_tokenizer
from marey.sw.model.config import ModelConfig
from marey.sw.program.program import Program
from marey.sw.quant.golden import Golden
from marey.sw.quant.outline import Outline, outline_of_shape
from marey.sw.quant.quantise import quantise
from marey.sw.runtime.decoder import Decoder
from marey.sw.runtime.driver import Device
from marey.sw.text.sampling import Sampler
from marey.sw.views.report import report
from tests.configs import INT4, ROOMY, any_shape

CHUNKED = ModelConfig(dim=32, hidden_dim=200, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=50, seq_len=40)
"""On a small tile, its larger matrices are cut into chunks."""
ULX3S = 1
pytestmark = pytest.mark.usefixtures("unproved")  # each run is proved by the emulator
STORIES15M = ModelConfig(dim=288, hidden_dim=768, n_layers=6, n_heads=6, n_kv_heads=6, vocab_size=32_000, seq_len=256)


def external(config, depth, **more):
    """The tile with external memory and so many words of W-RAM."""
    return replace(config, name=f"{config.name}_external", sdram=ULX3S, wram_depth=depth, **more)


def held(program, model, prompt, cuts, transport=Endpoint):
    """Runs a prompt in parts that end at `cuts`, as a conversation does, and holds the logits behind each part to the golden
    model's. Returns the number of blocks that the device has run, and the session's tally."""
    program, blocks, before = replace(program, tokenizer=tiny_tokenizer()), 0, 0
    with Device(transport(program.config), program.config) as device:
        device.load(program)
        decoder = Decoder(device, program)
        for end in (*cuts, len(prompt)):
            golden = Golden(model)
            golden.prefill(np.array([prompt[:end - 1]], np.int64), 0)
            logits, scale = golden.integers(np.array(prompt[end - 1:end]), end - 1)
            *taken, last = decoder.decode(prompt[:end], 1, Sampler(), logits=True)
            assert last.made == int(logits[0].argmax())
            assert np.array_equal(last.logits, logits[0] * (scale[0, 0] * model.logit_unit))
            assert all(ran.step.predicted_cycles == ran.step.measured_cycles for ran in taken)
            assert sum(ran.step.count for ran in taken) + 1 == end - before
            blocks, before = blocks + sum(ran.step.count > 1 for ran in taken), end
        return blocks, device.tally


CLOCKS_MHZ = (50, 80, 100, 120)
"""A pause for REFRESH has another length at each."""


def drawn(data, configs, longest, depths, streamed, clocks_mhz):
    """A drawn model, and its program on a drawn tile from whose external memory it comes, or if it is `streamed`, from
    the host."""
    shape, config = data.draw(any_shape(longest)), data.draw(st.sampled_from(configs))
    model = quantise(tiny_model(shape), config.weight_bits)
    config = external(config, 1 << data.draw(st.integers(6, 10)), mem_depth=1 << data.draw(st.integers(*depths)),
                      sdram_mhz=data.draw(st.sampled_from(clocks_mhz)))
    if streamed:
        config = replace(config, sdram=0, sdram_mhz=100, wram_depth=config.wram_depth + data.draw(st.integers(0, 100)))
    with_room = replace(config, sdram=0, sdram_mhz=100, wram_depth=1 << 14)
    assume(Layout(with_room, Outline.of(model), min(16, shape.seq_len)).words > config.wram_depth and shape.seq_len > 4)
    try:
        program = compile_quantised(model, config)
    except CompileError:
        assume(False)
    assume(program.stream.block)
    return program, model


def checked(data, configs, longest=40, depths=(8, 11), streamed=False, clocks_mhz=CLOCKS_MHZ):
    program, model = drawn(data, configs, longest, depths, streamed, clocks_mhz)
    context = program.model.context
    prompt = data.draw(st.lists(st.integers(0, program.model.shape.vocab_size - 1), min_size=4, max_size=context - 1))
    cuts = sorted(data.draw(st.sets(st.integers(2, len(prompt) - 1), min_size=1, max_size=2)))
    held(program, model, prompt, cuts)


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "config"), [
    (ModelConfig(dim=96, hidden_dim=48, n_layers=2, n_heads=6, n_kv_heads=3, vocab_size=67, seq_len=28, tied=False),
     replace(ROOMY[4], wram_depth=609, mem_depth=256)),
    (ModelConfig(dim=24, hidden_dim=50, n_layers=2, n_heads=6, n_kv_heads=2, vocab_size=47, seq_len=22, tied=False),
     replace(ROOMY[1], wram_depth=158))], ids=("a norm is made again beside the next", "one lane"))
def test_what_drawn_models_have_found(shape, config):
    model = quantise(tiny_model(shape))
    held(compile_quantised(model, config), model, [26, 25, 15, 16, 1, 20], [3])


@pytest.fixture(scope="module")
def over_link():
    """A streamed program of a model in several chunks a matrix, some in several sections, and the model."""
    model = quantise(tiny_model(CHUNKED), 8)
    return compile_quantised(model, replace(ROOMY[4], wram_depth=150, mem_depth=256)), model


def test_over_the_link_a_block_is_sent_its_weights_once(over_link, tmp_path):
    """The words of a run of two blocks, the second not full, are those that were reckoned."""
    program, model = over_link
    block = program.stream.block
    assert block.positions == 4 and any(section.chunks > 1 for section in program.stream.layer)
    runs = list(program.prompt_runs(0, 7))
    assert [(run.first, run.end, run.start) for run in runs] == [(0, 4, 0), (4, 7, 4)]
    alone = program.link_words(False)
    assert runs[0].link_words < 4 / 2 * alone and runs[1].link_words < runs[0].link_words
    with Device(Endpoint(program.config), program.config) as device:
        device.load(program)
        words = [device.tally.link_words]
        for tokens, position in (([1, 2, 3, 4], 0), ([5, 6, 7], 4)):
            device.run_block(tokens, position)
            words.append(device.tally.link_words)
        with pytest.raises(MareyError, match="no block of 2 tokens at position 7"):
            device.run_block([8, 9], 7)
    # The first block finds no weights in the buffers.
    assert words[2] - words[1] == runs[1].link_words and 0 < words[1] - words[0] - runs[0].link_words < alone
    blocks, tally = held(program, model, list(range(1, 10)), [7])
    assert blocks == 2 and tally.predicted == tally.measured
    program.save(tmp_path / "blocks.marey")
    again = Program.load(tmp_path / "blocks.marey")
    assert again.stream.block == block and list(again.prompt_runs(3, 7)) == list(program.prompt_runs(3, 7))
    assert "a prompt in blocks of 4 positions" in again.summary()


@settings(max_examples=1, deadline=None, phases=set(Phase) - {Phase.shrink})
@given(data=st.data())
def test_a_prompt_in_blocks_leaves_what_it_leaves_token_by_token(data):
    checked(data, [ROOMY[4], INT4[0]], 12, (7, 8), clocks_mhz=(80,))


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(data=st.data())
def test_on_any_tile(data):
    """Square and oblong, one lane, weights of both kinds."""
    checked(data, ROOMY + [config for config in INT4 if not config.compact])


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(data=st.data())
def test_over_the_link_on_any_tile(data):
    checked(data, ROOMY, streamed=True)


@pytest.fixture(scope="module")
def program():
    """A model in several chunks a matrix, and its program."""
    model = quantise(tiny_model(CHUNKED), 4)
    return compile_quantised(model, external(INT4[0], 256, mem_depth=512)), model


def test_a_block_takes_its_weights_once(program):
    program, model = program
    block = program.stream.block
    assert block.positions == 8 and any(section.chunks > 1 for section in program.stream.layer)
    cycles, alone = program.run_cycles(8, 0, block.entry), program.cycles(8, False)
    assert cycles < block.positions / 4 * alone
    assert [(run.first, run.end, run.start, run.cycles) for run in program.prompt_runs(0, 17)] == [
        (0, 8, 0, cycles), (8, 16, 8, cycles), (16, 17, None, alone)]
    # What is left of a block may be so few tokens that they take fewer cycles one by one.
    assert [run.end for run in program.prompt_runs(7, 9)] == [8, 9]
    blocks, tally = held(program, model, list(range(1, 16)), [10])
    assert blocks == 2 and tally.predicted == tally.measured


def test_tokens_that_are_no_block_are_refused(program):
    program, _ = program
    config = program.config
    with Device(Endpoint(config), config) as device:
        device.load(program)
        for tokens, position, what in (([1, 2], 4, "no block of 2 tokens at position 4"), ([], 0, "no block of 0 tokens"),
                                       ([1] * 9, 0, "no block of 9 tokens"), ([99], 0, "token 99 is not one"),
                                       ([1], 40, "positions 40 to 40 are not within")):
            with pytest.raises(MareyError, match=what):
                device.run_block(tokens, position)


def test_the_block_is_the_largest_for_which_memories_have_room(program, tmp_path, capsys):
    program, model = program
    outline = Outline.of(model)

    def scheduled(**more):
        config = external(INT4[0], 256, **more)
        return schedule(lay_out_model(config, outline), outline)

    found = scheduled(mem_depth=256).stream.block
    assert found.positions == 4 and found.granule + found.positions * found.stride <= 256
    small, sweep = scheduled(program_depth=256), scheduled(sdram_sweep_us=45000)
    assert small.stream.block is None and small.stream.no_block.endswith("choose a larger program_depth")
    assert sweep.stream.block is None and sweep.stream.no_block.endswith("set sdram_sweep_us to 0")
    assert sweep.stream.no_block in sweep.summary()
    assert small.stream.no_block in report(small, 0)["summary"][f"a prompt of {small.model.context} tokens"]
    warn_of_no_blocks(small, "x")
    assert capsys.readouterr().err == (
        f"marey: warning: the prompt is run token by token, without blocks: {small.stream.no_block}\n")
    program.save(tmp_path / "blocks.marey")
    assert Program.load(tmp_path / "blocks.marey").stream.block == program.stream.block
    assert "a prompt in blocks of 8 positions" in program.summary()


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "mem_depth", "block", "least"), [
    (4, 4096, 16, 7.3), (4, 2048, 8, 5.9), (8, 2048, 8, 6.1)])
def test_a_prompt_of_stories15M(bits, mem_depth, block, least):
    """Its shape on a tile of the ULX3S's with a context of 64, derived: how many times as long 63 tokens of a prompt and
    the one behind them take one by one."""
    config = replace(preset("ecp5_8x8"), sdram=ULX3S, weight_bits=bits, wram_depth=(1 << 15) // bits, mem_depth=mem_depth,
                     program_depth=1024)
    outline = outline_of_shape(STORIES15M, bits, 32)
    program = schedule(lay_out_model(config, outline, 64), outline)
    last, runs = program.cycles(63), list(program.prompt_runs(0, 63))
    assert program.stream.block.positions == block and len(runs) == -(-63 // block)
    together = sum(run.cycles for run in runs) + last
    assert (63 * program.cycles(0, False) + last) / together > least and 64 * last / together > 14


@pytest.mark.parametrize(("mem_depth", "block", "words"), [(4096, 16, 6_705_489), *(
    pytest.param(*each, marks=pytest.mark.slow) for each in ((1024, 4, 25_149_873), (2048, 8, 12_853_617)))])
def test_link_words_of_a_prompt_of_stories15M(mem_depth, block, words):
    """The same over the link, derived: 63 tokens of a prompt, with weights of 8 bits, in words and in cycles."""
    config = replace(preset("ecp5_8x8"), wram_depth=4096, mem_depth=mem_depth)
    outline = outline_of_shape(STORIES15M)
    program = schedule(lay_out_model(config, outline, 64), outline)
    runs = list(program.prompt_runs(0, 63))
    assert program.stream.block.positions == block and sum(run.link_words for run in runs) == words
    assert 63 * program.link_words(False) == 97_448_211
    assert (sum(run.cycles for run in runs), 63 * program.cycles(0, False)) == (11_654_016, 7_351_092)


@pytest.mark.slow
def test_on_the_rtl_with_a_chip_that_forgets(program, compiler):
    program, model = program

    def checked(config):
        return verilator.open_tile(config, checked=True)

    blocks, tally = held(program, model, list(range(1, 23)), [13], checked)
    assert blocks == 4 and tally.predicted == tally.measured


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "rate"), [(4, 1), (8, 1), (4, 2)])
def test_a_block_of_stories15M_on_the_rtl(bits, rate, compiler):
    """Its shape with random weights: a block of 16 positions, and the token behind it, whose logits are golden, in the
    predicted cycles."""
    model = quantise(tiny_model(STORIES15M), bits, group=32)
    config = replace(preset("ecp5_8x8"), sdram=ULX3S, weight_bits=bits, wram_depth=(1 << 18) // bits, mem_depth=4096,
                     program_depth=1024, **({} if rate == 1 else {"sdram_rate": rate, "sdram_mhz": 70}))
    program = compile_quantised(model, config)
    assert program.stream.block.positions == 16
    prompt = np.random.default_rng(6).integers(0, STORIES15M.vocab_size, 17).tolist()
    golden = Golden(model)
    golden.prefill(np.array([prompt[:-1]], np.int64), 0)
    logits, scale = golden.integers(np.array(prompt[-1:]), 16)
    with Device(verilator.open_tile(config), config) as device:
        device.load(program)
        device.run_block(prompt[:16], 0)
        assert device.run(prompt[16], 16) == [int(logits[0].argmax())]
        assert np.array_equal(device.logits(), logits[0] * (scale[0, 0] * model.logit_unit))
        assert device.tally.measured == device.tally.predicted == program.block_cycles(range(16)) + program.cycles(16)
