"""Models in external memory: the tokens of a larger tile, in one run a token, with a host that is silent."""

from dataclasses import replace

import numpy as np
import pytest

from marey.hdl.spec.config import preset
from marey.hdl.spec.dram_parts import BURST
from marey.hdl.spec.isa import Op
from marey.sim import verilator
from marey.sim.emulator import EmulatedTile
from marey.sim.endpoint import Endpoint
from marey.sw.compiler.compile import compile_quantised, schedule
from marey.sw.compiler.layout import CompileError
from marey.sw.compiler.plan import lay_out_model
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.program.program import Program
from marey.sw.quant.golden import Golden
from marey.sw.quant.outline import outline_of_shape
from marey.sw.quant.quantise import quantise
from marey.sw.runtime.driver import Device
from marey.sw.runtime.external import ExternalMemory, ExternalMemoryError
from marey.sw.runtime.loading import image_of
from marey.sw.runtime.prefill import HostPrefill
from marey.sw.runtime.verify import GoldenReference
from tests.configs import INT4, MODELS, ROOMY
from tests.greedy import greedy_steps

GROUPED = next(iter(MODELS))
LARGE = {"wram_depth": 1 << 16, "mem_depth": 1 << 14}
STORIES15M = ModelConfig(dim=288, hidden_dim=768, n_layers=6, n_heads=6, n_kv_heads=6, vocab_size=32_000, seq_len=256)
RATES = {1: {}, 2: {"sdram_rate": 2, "sdram_mhz": 70}}
"""Cycles of the chip in one of the tile's."""
TWICE = replace(INT4[0], name="twice")
"""One whose chip has two, and whose entries of W-RAM come in each cycle."""
POSITIONS = ((0, 1, 7, 8), (31, 32, 62, 63))
ULX3S, COLORLIGHT, SMALLEST = 1, 3, 4
"""Chips, by their numbers in `Config.sdram`."""


@pytest.fixture(scope="module")
def models():
    """The model by the bits of its weights."""
    return {bits: quantise(tiny_model(GROUPED), bits) for bits in (8, 4)}


@pytest.fixture(scope="module")
def model(models):
    return models[8]


def external(config, chip=ULX3S):
    """A tile that is too small for the model, with external memory; its clock is that of a board for `TWICE`."""
    depth = 1 << (config.wram_depth // 8).bit_length() - 1
    rate = RATES[2] if config is TWICE else {}
    return replace(config, name=f"{config.name}_external", sdram=chip, wram_depth=depth, **rate)


def tokens(program, model, count, transport=Endpoint):
    """The tokens of the first `count` positions, each compared with the golden model's, and the session's tally."""
    with Device(transport(program.config), program.config) as device:
        device.load(program)
        words = device.tally.link_words
        found = [token for token, _ in greedy_steps(program, model, device, count)]
        return found, device.tally, device.tally.link_words - words


@pytest.mark.parametrize(("config", "chip"), [(ROOMY[4], COLORLIGHT), (INT4[0], ULX3S), (TWICE, ULX3S), *(
    pytest.param(*each, marks=pytest.mark.slow) for each in ((ROOMY[0], ULX3S), (ROOMY[3], ULX3S), (INT4[0], COLORLIGHT)))],
    ids=("colorlight", "int4", "twice", "s4", "t82", "int4 colorlight"))
def test_tokens_are_golden_in_one_run_each(models, config, chip):
    """At positions in more than one block of the KV cache, all in the same cycles."""
    model = models[config.weight_bits]
    program = compile_quantised(model, external(config, chip))
    assert program.stream.external
    _, tally, _ = tokens(program, model, 10)
    assert tally.runs == 10 and tally.predicted == tally.measured == 10 * program.cycles()
    assert len({program.cycles(position) for position in range(program.model.context)}) == 1


@pytest.mark.parametrize(("head_dim", "depth", "streamed"), [(4, 64, False), (12, 128, False), (4, 64, True)])
def test_heads_that_share_results(head_dim, depth, streamed):
    """Arrays of more columns than rows, whose cached values take more words than the keys."""
    shape = ModelConfig(dim=4 * head_dim, hidden_dim=20, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=19, seq_len=20)
    model, config = quantise(tiny_model(shape)), replace(ROOMY[2], wram_depth=depth, sdram=0 if streamed else ULX3S)
    program = compile_quantised(model, config)
    assert program.stream.external != streamed
    tokens(program, model, min(program.model.context, 17))


def test_logits_that_mem_has_no_room_for_lie_in_external_memory(models):
    """A prompt before them, and a chunk of the classifier a dozen times."""
    shape = ModelConfig(dim=32, hidden_dim=40, n_layers=1, n_heads=2, n_kv_heads=2, vocab_size=600, seq_len=16)
    model, config = quantise(tiny_model(shape)), replace(external(ROOMY[4]), mem_depth=64)
    program = compile_quantised(model, config)
    assert program.stream.logits_far and program.stream.end[-1].chunks > 10
    with Device(Endpoint(config), config) as device:
        device.load(program)
        assert device.run(7, 0, 0) == []
        golden = Golden(model)
        golden.prefill(np.array([[7]]), 0)
        logits, scale = golden.integers(np.array([9]), 1)
        assert device.run(9, 1) == [int(logits[0].argmax())]
        assert np.array_equal(device.logits(), logits[0] * (scale[0, 0] * model.logit_unit))
        assert device.run(9, 1) == [int(logits[0].argmax())]


@pytest.mark.parametrize(("shape", "tile"), [
    (ModelConfig(dim=24, hidden_dim=3, n_layers=3, n_heads=3, n_kv_heads=1, vocab_size=40, seq_len=12), INT4[0]),
    (ModelConfig(dim=32, hidden_dim=40, n_layers=3, n_heads=2, n_kv_heads=1, vocab_size=40, seq_len=12),
     replace(INT4[0], rows=8, cols=4, lanes=1, wram_latency=1))], ids=("no multiple of a group", "one lane"))
def test_rows_of_an_embedding_in_groups(shape, tile):
    """A row whose last group is short; and one lane, where the angles behind the row's factors must begin with an even
    granule."""
    model = quantise(tiny_model(shape), 4)
    program = compile_quantised(model, replace(tile, sdram=ULX3S, wram_depth=128 if tile.lanes > 1 else 256))
    assert program.stream.external and program.stream.factors.shape[1] > 1
    tokens(program, model, 2)


def test_no_weights_cross_the_link(model, tmp_path):
    config = external(ROOMY[4])
    program, over_link = compile_quantised(model, config), compile_quantised(model, replace(config, sdram=0))
    assert program.stream.external and not over_link.stream.external
    assert program.link_words() < over_link.link_words() / 5 and len(program.runs()) == 1
    assert {each.op for each in program.image.instructions} > {Op.MOVE}
    program.save(tmp_path / "external.marey")
    again = Program.load(tmp_path / "external.marey")
    assert again.stream.external and again.cycles() == program.cycles()
    assert again.stream.sections == program.stream.sections


def test_what_is_loaded_is_what_the_image_says(model):
    config = external(ROOMY[4])
    program = compile_quantised(model, config)
    with Device(Endpoint(config), config) as device:
        device.load(program)
        image, memory = image_of(config, program.stream), ExternalMemory(device.session)
        bursts = min(len(image) // 16, 3000)
        assert np.array_equal(memory.read(0, bursts), image[:bursts * 16])
        memory.write(77, np.arange(64, dtype=np.uint8))
        assert memory.read(78, 2).tolist() == list(range(16, 48))


@pytest.mark.parametrize(("bits", "rate", "speed"), [(4, 1, 22.7), (4, 2, 31.7), *(
    pytest.param(8, rate, speed, marks=pytest.mark.slow) for rate, speed in ((1, 12.7), (2, 17.8)))])
def test_stories15M(bits, rate, speed):
    """Its shape on a tile of the ULX3S's, derived: tokens a second at 100 MHz, or at 70 with a chip at 140, and 97 % of the
    bus's peak, with nothing counted but the weights and constants that a token needs."""
    config = replace(preset("ecp5_8x8"), sdram=ULX3S, weight_bits=bits, wram_depth=1 << 14 - bits.bit_length() + 1,
                     **RATES[rate])
    outline = outline_of_shape(STORIES15M, bits, 32)
    layout = lay_out_model(config, outline)
    program = schedule(layout, outline)
    needed = sum(run.section.words * 8 * 8 * bits // 16 + run.section.granules_of(run.chunk) * config.lanes
                 for run in program.stream.runs() if run.section.words) / rate
    assert needed <= layout.image_bursts * BURST and 97 / 100 < needed / program.cycles() < 98 / 100
    assert config.sdram_mhz * 1e6 / program.cycles() > speed
    assert program.stream.link_words(config) < 1000


def test_a_model_larger_than_the_memory_is_refused(model):
    with pytest.raises(CompileError, match="bytes of external memory, and s8_external has 4,096: choose a larger one"):
        compile_quantised(model, external(ROOMY[4], SMALLEST))


def test_a_tile_whose_words_are_no_bursts_is_refused(model):
    with pytest.raises(CompileError, match="a word of W-RAM, 128 bits, must be a multiple of a burst of 256"):
        compile_quantised(model, external(ROOMY[0], COLORLIGHT))


FAULTS = {
    "address": lambda operands, sdram: operands | {"far": operands["far"] & ~(1 << 9)},
    "smaller": lambda operands, sdram: operands | {"far": operands["far"] % (1 << 18)},
    "data": lambda operands, sdram: sdram.__iand__(0xFFDF) is None or operands,
    "absent": lambda operands, sdram: sdram.fill(0xFFFF) or operands,
}
"""What a broken memory makes of a MOVE: an address pin or a data pin is stuck, the chip is smaller, or there is none."""
MESSAGE = (r"^external memory: a word of burst \d+ is 0x[0-9a-f]+, and 0x[0-9a-f]+ was written: the chip is absent, "
           r"miswired, too fast for its clock, or no IS42S16160G-7$")


@pytest.mark.parametrize("fault", ["address", *(pytest.param(name, marks=pytest.mark.slow) for name in list(FAULTS)[1:])])
def test_a_broken_memory_is_found_before_it_is_loaded(monkeypatch, fault):
    move = EmulatedTile._move

    def broken(tile, operands):
        move(tile, FAULTS[fault](operands, tile.sdram))
        FAULTS[fault](operands, tile.sdram)

    config = replace(external(ROOMY[4]), program_depth=16)
    monkeypatch.setattr(EmulatedTile, "_move", broken)
    with Device(Endpoint(config), config) as device, pytest.raises(ExternalMemoryError, match=MESSAGE):
        ExternalMemory(device.session).check()


@pytest.mark.slow
@pytest.mark.parametrize("config", [ROOMY[4], INT4[0], TWICE], ids=("int8", "int4", "twice"))
def test_on_the_rtl_with_a_chip_that_forgets(models, config, compiler):
    model, config = models[config.weight_bits], external(config)
    program = compile_quantised(model, config)

    def checked(config):
        return verilator.open_tile(config, checked=True)

    found, tally, _ = tokens(program, model, 12, checked)
    assert found == tokens(program, model, 12)[0] and tally.predicted == tally.measured


@pytest.mark.slow
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("bits", [4, 8])
def test_the_shape_of_stories15M_on_the_rtl(bits, rate, compiler):
    """With random weights, at the first position, in the middle and at the end of its context: every logit is golden, in the
    predicted cycles, with at least 97 % of the bus's peak."""
    model = quantise(tiny_model(STORIES15M), bits, group=32)
    config = replace(preset("ecp5_8x8"), sdram=ULX3S, weight_bits=bits, wram_depth=(1 << 18) // bits, mem_depth=2048,
                     **RATES[rate])
    program, text = compile_quantised(model, config), np.random.default_rng(5).integers(0, STORIES15M.vocab_size, 256).tolist()
    needed = (program.stream.weights.size * bits // 16 + program.stream.constants.size) / rate
    assert 97 / 100 < needed / program.cycles() < 98 / 100
    reference = GoldenReference(model)
    with Device(verilator.open_tile(config), config) as device:
        device.load(program)
        for position in (0, 63, 255):
            if position:
                HostPrefill(reference, program).fill(device.session, text[:position], 0)
            expected, logits = reference.step(text[:position + 1])
            assert device.run(text[position], position) == [expected]
            assert np.array_equal(device.logits(), logits)
        assert device.tally.measured == device.tally.predicted == 3 * program.cycles()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ecp5_8x8_int4_sdram", "ecp5_8x8_sdram"])
def test_every_position_to_63_of_stories15M_on_the_rtl(name, compiler):
    """On the tile of a board, one after another: 64 tokens with random weights are golden, in the predicted cycles."""
    config = preset(name)
    model = quantise(tiny_model(STORIES15M), config.weight_bits, group=32)
    program = compile_quantised(model, config, context=64)
    _, tally, _ = tokens(program, model, 64, verilator.open_tile)
    assert tally.runs == 64 and tally.predicted == tally.measured == 64 * program.cycles()


@pytest.mark.slow
@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize(("name", "speed"), [("ecp5_8x8_int4_sdram", 31.7), ("ecp5_8x8_sdram", 17.8)])
def test_positions_to_63_of_stories15M_on_the_rtl(name, speed, positions, compiler):
    """On the tile of a board, with a context of 64: every logit is golden, in the predicted cycles, on both sides of edges
    of blocks of the KV cache. The host computes the cache of the positions between."""
    config = preset(name)
    model = quantise(tiny_model(STORIES15M), config.weight_bits, group=32)
    program = compile_quantised(model, config, context=64)
    text = np.random.default_rng(5).integers(0, STORIES15M.vocab_size, 64).tolist()
    assert program.model.context == 64 and config.sdram_mhz * 1e6 / program.cycles() > speed
    reference = GoldenReference(model)
    with Device(verilator.open_tile(config), config) as device:
        device.load(program)
        for position in positions:
            if position:
                HostPrefill(reference, program).fill(device.session, text[:position], 0)
            expected, logits = reference.step(text[:position + 1])
            before = device.tally.measured
            assert device.run(text[position], position) == [expected]
            assert device.tally.measured - before == program.cycles(position) and np.array_equal(device.logits(), logits)
