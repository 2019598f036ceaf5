"""Models in external memory: the tokens of a larger tile, in the predicted cycles, with a host that is silent."""

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
from marey.sw.compiler.external import bursts_of
from marey.sw.compiler.layout import CompileError
from marey.sw.compiler.plan import lay_out_model
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.program.program import Program
from marey.sw.quant.outline import outline_of_shape
from marey.sw.quant.quantise import quantise
from marey.sw.runtime.driver import Device
from marey.sw.runtime.external import ExternalMemory, ExternalMemoryError, image_of
from tests.configs import MODELS, ROOMY
from tests.greedy import greedy_steps

GROUPED = next(iter(MODELS))
LARGE = {"wram_depth": 1 << 16, "mem_depth": 1 << 14}
ULX3S, COLORLIGHT, SMALLEST = 1, 3, 4
"""Chips, by their numbers in `Config.sdram`."""


@pytest.fixture(scope="module")
def model():
    return quantise(tiny_model(GROUPED))


def external(config, chip=ULX3S):
    """A tile that is too small for the model, with external memory."""
    return replace(config, name=f"{config.name}_external", sdram=chip, wram_depth=config.wram_depth // 8)


def tokens(program, model, count, transport=Endpoint):
    """The tokens of the first `count` positions, each compared with the golden model's, and the session's tally."""
    with Device(transport(program.config), program.config) as device:
        device.load(program)
        words = device.tally.link_words
        found = [token for token, _ in greedy_steps(program, model, device, count)]
        return found, device.tally, device.tally.link_words - words


@pytest.mark.parametrize(("config", "chip"), [(ROOMY[0], ULX3S), (ROOMY[4], COLORLIGHT)],
                         ids=("ulx3s", "colorlight"))
def test_tokens_are_those_of_a_resident_model(model, config, chip):
    program = compile_quantised(model, external(config, chip))
    assert program.stream.external
    resident = compile_quantised(model, replace(config, **LARGE))
    found, tally, _ = tokens(program, model, 3)
    assert found == tokens(resident, model, 3)[0]
    assert tally.predicted == tally.measured == sum(program.cycles(position) for position in range(3))


def test_no_weights_cross_the_link(model, tmp_path):
    config = external(ROOMY[4])
    program, over_link = compile_quantised(model, config), compile_quantised(model, replace(config, sdram=0))
    assert program.stream.external and not over_link.stream.external
    assert program.link_words() < over_link.link_words() / 5
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


def test_stories15M():
    """Its shape in int8 on the ULX3S's 45F, derived: more than 12 tokens a second at 100 MHz, as the bus is busy 95 %."""
    shape = ModelConfig(dim=288, hidden_dim=768, n_layers=6, n_heads=6, n_kv_heads=6, vocab_size=32_000, seq_len=256)
    config, outline = replace(preset("ecp5_8x8"), sdram=ULX3S), outline_of_shape(shape, 8, 32)
    program = schedule(lay_out_model(config, outline), outline)
    bursts = sum(times * sum(bursts_of(config, section)) for section, times in program.stream.counted() if section.stride)
    assert 95 / 100 < bursts * BURST / program.cycles() < 96 / 100 and 100e6 / program.cycles() > 12
    assert program.stream.link_words(config) < 30_000


def test_a_model_larger_than_the_memory_is_refused(model):
    with pytest.raises(CompileError, match="bytes of external memory, and s8_external has 4,096: choose a larger one"):
        compile_quantised(model, external(ROOMY[4], SMALLEST))


def test_a_tile_whose_words_are_no_bursts_is_refused(model):
    with pytest.raises(CompileError, match="a word of W-RAM of s4_external is no multiple of a burst of external memory"):
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
def test_on_the_rtl_with_a_chip_that_forgets(model, compiler):
    config = external(ROOMY[4])
    program = compile_quantised(model, config)

    def checked(config):
        return verilator.open_tile(config, checked=True)

    found, tally, _ = tokens(program, model, 3, checked)
    assert found == tokens(program, model, 3)[0] and tally.predicted == tally.measured
