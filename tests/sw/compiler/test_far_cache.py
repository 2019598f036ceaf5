"""Models whose KV cache lies in external memory, because W-RAM has no room for it."""

from dataclasses import replace

import numpy as np
import pytest

from marey.hdl.spec.config import Config, preset
from marey.hdl.spec.isa import Op, Place
from marey.hdl.timing import trace
from marey.sim import verilator
from marey.sim.endpoint import Endpoint
from marey.sw.compiler.compile import compile_quantised, schedule
from marey.sw.compiler.layout import CompileError
from marey.sw.compiler.plan import lay_out_model
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.program.program import Program
from marey.sw.quant.outline import outline_of_shape
from marey.sw.quant.quantise import quantise
from marey.sw.runtime.driver import Device
from marey.sw.runtime.prefill import HostPrefill
from marey.sw.runtime.verify import GoldenReference
from tests.configs import MODELS
from tests.sw.compiler.test_external import STORIES15M

GROUPED = replace(next(iter(MODELS)), seq_len=32)
TILE = Config(name="far", rows=8, cols=8, lanes=8, wram_depth=32, mem_depth=256, program_depth=512, sdram=1)
NIBBLES = replace(TILE, weight_bits=4, wram_depth=64, wram_latency=2, lanes=4, mem_depth=512)
TALL = replace(TILE, rows=4, cols=4, lanes=4, wram_depth=128, mem_depth=512)
"""Square tiles: W-RAM has room for the cache of one layer of the model, and not of two."""
SWEEPS = Config(name="sweeps", rows=8, cols=8, lanes=8, wram_depth=8, mem_depth=256, sdram=4, sdram_sweep_us=80)
"""With the small chip, whose rows keep their contents for 125 us, and which is refreshed by reading."""
SMALL = ModelConfig(dim=8, hidden_dim=8, n_layers=2, n_heads=1, n_kv_heads=1, vocab_size=20, seq_len=16)


def check(shape, config, positions, transport=Endpoint):
    """Goes through a text up to the last of these positions, at each of which the logits are golden."""
    model = quantise(tiny_model(shape), config.weight_bits)
    program = compile_quantised(model, config, context=shape.seq_len)
    text = np.random.default_rng(3).integers(0, shape.vocab_size, positions[-1] + 1).tolist()
    assert program.stream.cache_bursts and program.model.context == shape.seq_len
    assert len({program.cycles(position) for position in range(shape.seq_len)}) == 1
    reference = GoldenReference(model)
    with Device(transport(config), config) as device:
        device.load(program)
        for position, token in enumerate(text):
            found = device.run(token, position)
            if position in positions:
                expected, logits = reference.step(text[:position + 1])
                assert found == [expected] and np.array_equal(device.logits(), logits)
        assert device.tally.measured == device.tally.predicted == len(text) * program.cycles()
    return program


@pytest.mark.parametrize(("config", "positions"), [
    (TILE, (0, 7, 8)), pytest.param(NIBBLES, (0, 7, 8, 24, 31), marks=pytest.mark.slow),
    pytest.param(TALL, (0, 3, 4, 24, 31), marks=pytest.mark.slow)], ids=("int8", "int4", "4x4"))
def test_logits_are_golden_on_both_sides_of_a_block(config, positions):
    check(GROUPED, config, positions)


@pytest.mark.parametrize("family", [pytest.param(name, marks=pytest.mark.slow) for name in ("gpt2", "qwen2", "qwen3")])
def test_families(family):
    """Keys that no angle turns, with biases, and with a norm."""
    check(replace(GROUPED, family=family), replace(TILE, gelu=1), (0, 7, 8, 15))


@pytest.mark.slow
@pytest.mark.parametrize("config", [TILE, NIBBLES], ids=("int8", "int4"))
def test_on_the_rtl_with_a_chip_that_forgets(config, compiler):
    check(GROUPED, config, (0, 7, 8, 23, 31), lambda tile: verilator.open_tile(tile, checked=True))


@pytest.fixture(scope="module")
def program() -> Program:
    return compile_quantised(quantise(tiny_model(GROUPED)), TILE, context=32)


def test_keys_and_values_have_places_of_their_own(program):
    """Each position of each layer is written once and read whole, behind the segments, with room for the logits behind."""
    config, stream = program.config, program.stream
    rows = stream.cache_bursts // (2 * GROUPED.n_layers * 32)
    first, far = stream.image_bursts(config), {}
    for position in (0, 9):
        issues = trace(config, program.image.instructions, position=position)
        moves = [issue.operands for issue in issues if issue.op is Op.MOVE]
        for to in (Place.SDRAM, Place.MEM):
            far[to] = np.concatenate([each["far"] + np.arange(each["count"]) for each in moves if each["to"] is to])
        written = far[Place.SDRAM].reshape(-1, 2, rows)[:, :, 0] - first
        layer = np.arange(GROUPED.n_layers)[:, None] * 32 + position
        assert np.array_equal(written, rows * np.hstack([layer, layer + GROUPED.n_layers * 32]))
        read = far[Place.MEM][far[Place.MEM] >= first]
        assert np.array_equal(np.sort(read), first + np.arange(stream.cache_bursts))


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize("config", [TILE, NIBBLES], ids=("int8", "int4"))
def test_a_prompt_that_the_host_computes(family, config):
    """In two parts, the second behind a position of the tile's own."""
    model = quantise(tiny_model(replace(GROUPED, family=family)), config.weight_bits)
    program, text = compile_quantised(model, config, context=32), np.random.default_rng(5).integers(0, 50, 32).tolist()
    reference = GoldenReference(model)
    prefill = HostPrefill(reference, program)
    with Device(Endpoint(config), config) as device:
        device.load(program)
        for first, last in ((0, 5), (6, 9), (10, 31)):
            prefill.fill(device.session, text[:last], first)
            expected, logits = reference.step(text[:last + 1])
            assert device.run(text[last], last) == [expected] and np.array_equal(device.logits(), logits)


def test_a_cache_that_fits_stays_on_chip():
    """Unless a longer context is asked for, the longest that fits."""
    outline = outline_of_shape(replace(GROUPED, seq_len=256), 8)
    config = replace(TILE, wram_depth=64)
    assert not lay_out_model(config, outline).far_cache and lay_out_model(config, outline, 64).far_cache


def test_what_is_refused(program):
    """In one line each: an oblong tile, and a cache that is larger than the chip."""
    outline = outline_of_shape(GROUPED, 8)
    with pytest.raises(CompileError, match="W-RAM words of 32 for a half of the KV cache, and"):
        lay_out_model(replace(TILE, cols=4, wram_depth=64, lanes=4), outline, 32)
    with pytest.raises(CompileError, match=r"the model takes [\d,]+ bytes of external memory, 4,096 of them for a KV cache "
                                           "of 32 positions, and far has 4,096"):
        lay_out_model(replace(TILE, sdram=4), outline, 32)
    assert not program.stream.block and program.stream.no_block.startswith("the KV cache lies in external memory")


def test_the_proof_of_retention_covers_the_cache():
    """Each row of the cache is read in each token, at the same cycles; without its reads it would not be kept."""
    program = compile_quantised(quantise(tiny_model(SMALL)), SWEEPS, context=16)
    part, bursts = SWEEPS.memory.part, program.stream.image_bursts(SWEEPS) + program.stream.cache_bursts
    assert program.check_retention().rows == -(-bursts * 8 // part.columns) > -(-program.stream.image_bursts(SWEEPS) * 8
                                                                                // part.columns)


@pytest.mark.slow
def test_nothing_is_forgotten_without_refresh_slots(compiler):
    """On the RTL, for many times as long as a row keeps its contents."""
    model = quantise(tiny_model(SMALL))
    program, reference = compile_quantised(model, SWEEPS, context=16), GoldenReference(model)
    text = np.random.default_rng(4).integers(0, SMALL.vocab_size, 16).tolist()
    expected = [reference.step(text[:position + 1])[0] for position in range(16)]
    with Device(verilator.open_tile(SWEEPS, checked=True), SWEEPS) as device:
        device.load(program)
        for _ in range(10):
            assert [device.run(token, position)[0] for position, token in enumerate(text)] == expected
        assert device.tally.measured == device.tally.predicted > 20 * SWEEPS.memory.retention


@pytest.mark.slow
@pytest.mark.parametrize(("name", "cycles"), [("ecp5_8x8_int4_sdram", 2_664_496), ("ecp5_8x8_sdram", 4_389_505)])
def test_stories15M(name, cycles):
    """With its whole context of 256 on the tile of a board, derived."""
    config = preset(name)
    outline = outline_of_shape(STORIES15M, config.weight_bits, 32)
    layout = lay_out_model(config, outline, 256)
    program = schedule(layout, outline)
    assert layout.far_cache and program.cycles() == cycles
    assert program.stream.cache_bursts * config.memory.part.burst_bytes == 6 * 256 * 288 * 2 * 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ecp5_8x8_int4_sdram", "ecp5_8x8_sdram"])
def test_the_whole_context_of_stories15M_on_the_rtl(name, compiler):
    """Its shape with random weights, on the tile of a board: at the first positions and at the last one every logit is golden,
    in the predicted cycles. The host computes the cache of the positions between."""
    config = preset(name)
    model = quantise(tiny_model(STORIES15M), config.weight_bits, group=32)
    program, text = compile_quantised(model, config, context=256), np.random.default_rng(5).integers(0, 32_000, 256).tolist()
    reference = GoldenReference(model)
    with Device(verilator.open_tile(config), config) as device:
        device.load(program)
        for position in (0, 1, 255):
            if position == 255:
                HostPrefill(reference, program).fill(device.session, text[:position], 2)
            expected, logits = reference.step(text[:position + 1])
            assert device.run(text[position], position) == [expected] and np.array_equal(device.logits(), logits)
        assert device.tally.measured == device.tally.predicted == 3 * program.cycles()
