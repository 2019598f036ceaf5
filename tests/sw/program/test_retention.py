"""Refresh by reading: the proof, row by row; a program with a gap is refused, and forgets where it runs all the same."""

from dataclasses import replace

import numpy as np
import pytest

from marey.hdl.dram import Dram
from marey.hdl.spec.config import Config, ConfigError, preset
from marey.hdl.spec.dram_parts import PartError
from marey.hdl.spec.isa import Op, Place
from marey.sim import verilator
from marey.sw.compiler.compile import compile_quantised, schedule
from marey.sw.compiler.plan import lay_out_model
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.program.retention import RetentionError, openings, prove
from marey.sw.quant.golden import Golden
from marey.sw.quant.outline import outline_of_shape
from marey.sw.quant.quantise import quantise
from marey.sw.runtime.driver import Device
from tests.configs import op

CONFIG = Config(name="sweeps", rows=8, cols=8, lanes=8, wram_depth=16, mem_depth=256, sdram=4, sdram_sweep_us=60)
"""With the small chip, whose rows keep their contents for 125 us."""
SHAPE = ModelConfig(dim=16, hidden_dim=16, n_layers=1, n_heads=2, n_kv_heads=2, vocab_size=20, seq_len=8)


@pytest.fixture(scope="module")
def model():
    return quantise(tiny_model(SHAPE))


@pytest.fixture(scope="module")
def program(model):
    return compile_quantised(model, CONFIG)


STORIES15M = ModelConfig(dim=288, hidden_dim=768, n_layers=6, n_heads=6, n_kv_heads=6, vocab_size=32_000, seq_len=256)


def with_gap(program, moves, far=56, count=200):
    """The program, which writes so many bursts from `far` on so many times behind its token: so long are others not read.

    Such moves have a REFRESH at their beginning only, and between them the engine has no time for more."""
    config, code = program.config, program.image.instructions
    move = op(config, "MOVE", to=Place.SDRAM, far=far, near=1, count=count)
    move = replace(move, wait=Dram.plan(config).busy(count) - 1)
    assert code[-1].op is Op.HALT
    last = [replace(move, wait=move.wait + 30), code[-1]]
    return replace(program, image=replace(program.image, instructions=[*code[:-1], *[move] * (moves - 1), *last]))


def test_the_proof_has_figures(program):
    proof, part = program.check_retention(), CONFIG.memory.part
    assert proof.most == CONFIG.memory.retention and program.cycles() < proof.longest <= proof.most
    assert proof.rows == -(-program.stream.image_bursts(CONFIG) * 8 // part.columns)
    assert f"each of {proof.rows} rows is read or refreshed within 0.1 ms" in program.summary()
    # A run for a prompt reads all rows, as the run of a token does.
    opened = [openings(CONFIG, program.image.instructions, count)[:2] for count in (0, 1)]
    assert all(np.array_equal(one, other) for one, other in zip(*opened, strict=True))


def test_no_move_has_a_pause():
    plan, usual = (Dram.plan(config) for config in (CONFIG, replace(CONFIG, sdram_sweep_us=0)))
    assert usual.busy(200) - plan.busy(200) == 2 * usual.pause and plan.busy(90) == usual.busy(90)
    # Between runs the engine refreshes more often: all rows in the time that a run of 60 us leaves.
    assert usual.period > plan.period == (CONFIG.memory.retention - 6_000) // 16


def test_a_gap_is_refused(program):
    code, bursts = program.image.instructions, program.stream.image_bursts(CONFIG)
    with pytest.raises(RetentionError, match=r"^row \d+ of external memory may wait 0.\d+ ms until it is read again, and "
                                             r"keeps its contents for 0.12 ms: set sdram_sweep_us to 0"):
        prove(CONFIG, with_gap(program, 16).image.instructions, bursts)
    # What is behind the model is not read.
    with pytest.raises(RetentionError, match=r"may wait"):
        prove(CONFIG, code, bursts + 64)


def test_a_run_that_leaves_no_time_is_refused():
    with pytest.raises(PartError, match="for 125 us, which leaves no time for a refresh beside a run of 124 us"):
        Dram.plan(replace(CONFIG, sdram_sweep_us=124))
    with pytest.raises(ConfigError, match="set sdram, too"):
        replace(CONFIG, sdram=0)


@pytest.mark.slow
def test_stories15M():
    """Its shape in 4 bits is read in 43 of the 64 ms, in 8 bits in 78."""
    config, outline = replace(preset("ecp5_8x8_int4"), sdram=1, sdram_sweep_us=45_000), outline_of_shape(STORIES15M, 4, 32)
    program = schedule(lay_out_model(config, outline), outline)
    proof = program.check_retention()
    assert (proof.rows, proof.most) == (8_348, 6_400_000) and proof.longest < 6_220_000
    assert program.stream.image_bursts(config) * 8 / program.cycles() > 99 / 100 and 100e6 / program.cycles() > 23
    config, outline = replace(preset("ecp5_8x8"), sdram=1, sdram_sweep_us=45_000), outline_of_shape(STORIES15M, 8)
    with pytest.raises(RetentionError, match=r"may wait 9\d\.\d+ ms"):
        schedule(lay_out_model(config, outline), outline)


@pytest.mark.slow
def test_on_the_rtl_nothing_is_forgotten_but_with_a_gap(model, program, compiler):
    """Tokens for 40 times as long as a row keeps its contents; then the same with the planted gap."""
    golden = Golden(model)
    expected = [int(golden.integers(np.array([3]), position)[0][0].argmax()) for position in range(8)]
    rounds = 40 * CONFIG.memory.retention // (8 * program.cycles()) + 1
    with Device(verilator.open_tile(CONFIG, checked=True), CONFIG) as device:
        device.load(program)
        for _ in range(rounds):
            assert [device.run(3, position)[0] for position in range(8)] == expected
        assert device.tally.measured == device.tally.predicted > 40 * CONFIG.memory.retention - 8 * program.cycles()
    gap = with_gap(program, 16)
    with Device(verilator.open_tile(CONFIG, checked=True), CONFIG) as device:
        device.load(gap)
        found = [device.run(3, position)[0] for position in range(8)]
        logits = device.logits()
        assert found != expected or not np.array_equal(logits, golden.integers(np.array([3]), 7)[0][0])


@pytest.mark.slow
def test_stories15M_on_the_rtl_for_200_ms(compiler):
    """Its shape in 4 bits, with the ULX3S's chip, which forgets: logits for over 200 ms without a REFRESH in a run. With a gap
    that the proof allows they are right, too; with a longer one the program is refused, and where it runs all the same, the
    logits are wrong from the second run on."""
    config = replace(preset("ecp5_8x8_int4_sdram"), sdram_mhz=100, sdram_rate=1, sdram_sweep_us=45_000)
    model = quantise(tiny_model(STORIES15M), 4, group=32)
    program, golden = compile_quantised(model, config), Golden(model)
    behind, bursts = program.stream.logits_far + 100_000, program.stream.image_bursts(config)
    gaps = [with_gap(program, moves, behind, 1024) for moves in (10, 270)]
    assert prove(config, gaps[0].image.instructions, bursts).longest <= config.memory.retention
    with pytest.raises(RetentionError, match=r"may wait 8\d\.\d+ ms until it is read again, and keeps its contents for 64"):
        prove(config, gaps[1].image.instructions, bursts)

    def right(device, position):
        logits, scale = golden.integers(np.array([3]), position)
        token = device.run(3, position)
        return token == [int(logits[0].argmax())] and np.array_equal(
            device.logits(), logits[0] * (scale[0, 0] * model.logit_unit))

    with Device(verilator.open_tile(config, checked=True), config) as device:
        device.load(program)
        assert all(right(device, position) for position in range(5))
        assert device.tally.measured == device.tally.predicted > 0.2 * config.sdram_mhz * 1e6
        device.load(gaps[0])
        assert right(device, 5) and right(device, 6)
        device.load(gaps[1])
        assert not all([right(device, 7), right(device, 8)])
