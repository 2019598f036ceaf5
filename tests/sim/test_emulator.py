"""The emulator by itself: memories through words, and busy cycles by unit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.hdl.mxm import Mxm
from marey.hdl.spec.isa import Address, Op, Reduce, Sfu, Source, To
from marey.hdl.spec.packing import pack_mem, pack_program, pack_wram, unpack_mem
from marey.hdl.spec.protocol import Space, entry_bits, parts
from marey.hdl.timing import Kind, engine_start, mxm_beat, violations, vxm_beat
from marey.hdl.vxm import Vxm
from marey.sim.emulator import EmulatedTile
from marey.sw.compiler.matmul import matmul
from tests.configs import CONFIGS, any_config, codes, op
from tests.machines import machines, small


@settings(deadline=None)
@given(config=any_config, data=st.data(), seed=st.integers(0, 99))
def test_memories_keep_what_is_written(config, data, seed):
    tile, rng = EmulatedTile(config), np.random.default_rng(seed)
    size = parts(entry_bits(config, Space.MEM))
    first = data.draw(st.integers(0, config.granules - 1))
    values = rng.integers(-32768, 32768, (config.granules - first) * config.lanes).astype(np.int16)
    tile.write(Space.MEM, first * size, pack_mem(config, values))
    assert np.array_equal(unpack_mem(config, tile.read(Space.MEM, first * size, (config.granules - first) * size)), values)
    limit = 1 << config.weight_bits - 1
    weights = rng.integers(-limit, limit, (3, config.cols, config.rows)).astype(np.int8)
    tile.write(Space.WRAM, 5 * config.cols * parts(entry_bits(config, Space.WRAM)), pack_wram(config, weights))
    assert np.array_equal(tile.wram[:, 5:8].transpose(1, 0, 2), weights)


@settings(max_examples=30, deadline=None)
@given(config=any_config, rows=st.integers(1, 2), inner=st.integers(4, 5), outer=st.integers(1, 3))
def test_busy_cycles(config, rows, inner, outer):
    """A unit is busy for as many cycles as it has beats, whatever the schedule."""
    tile = EmulatedTile(config)
    program = matmul(config, rows=rows, inner=inner, outer=outer, act=0, wgt=0, scale=60, dst=40, shift=0)
    tile.write(Space.PROGRAM, 0, pack_program(config, codes(config, program)))
    tile.start(0)
    beats, granules = rows * inner * outer, rows * outer * config.beats_per_result
    # Where W-RAM has one port, all columns' reads count, of which the last are later than the first.
    reads = {"wram.read": beats + Mxm.array(config).skew(config)} if config.wram_ports == 1 else {}
    assert {unit: tile.busy[unit] for unit in tile.busy if unit.facts.kind is not Kind.ENGINE} == {
        "mxm": beats, "mem.act": beats, "wram": beats, "wram.late": beats, "drain": granules, "stream": granules,
        "vxm": granules, "mem.y": granules, "mem.write": granules} | reads
    # Engines are taken before their beats, between results, and as long as an instruction leaves.
    assert tile.busy["engine.mxm"] == beats + mxm_beat(config) - engine_start(config, Op.MXM)
    taken = (rows * outer - 1) * inner + config.beats_per_result
    assert tile.busy["engine0"] == vxm_beat(config) - engine_start(config, Op.VXM) + taken + Vxm.leaving_cycles(config)
    assert tile.busy["mxm"] < tile.cycles


def test_a_new_program_is_a_new_run():
    config = CONFIGS[0]
    tile = EmulatedTile(config)
    cycles = []
    for outer in (1, 3):
        program = matmul(config, inner=4, outer=outer, act=0, wgt=0, scale=30, dst=20, shift=0)
        tile.write(Space.PROGRAM, 0, pack_program(config, codes(config, program)))
        tile.start(0)
        cycles.append(tile.cycles)
    assert cycles[1] - cycles[0] == 2 * 4


@pytest.mark.parametrize("config", [CONFIGS[0], CONFIGS[5]], ids=lambda config: config.name)
def test_scalars_of_negative_sums_and_long_products_are_those_of_the_rtl(config):
    """Negative sums have no sign in the scalar unit, and an exponent that leaves its 8 bits wraps."""
    two = machines(small(config))
    config, half = two.config, two.config.scalars // 2
    chain = [op(config, "SFU", 60, function=Sfu.MULTIPLY, a=half + 3, b=half + 3, into=half + 3)] * 6
    program = [
        op(config, "VXM", 60, reduce=Reduce.SUM, into=1), op(config, "VXM", 60, reduce=Reduce.MAX, into=2),
        op(config, "VXM", 60, reduce=Reduce.ABSMAX, into=3),
        op(config, "SFU", 60, function=Sfu.QUANTISE, a=1, into=half, epsilon=1),
        op(config, "SFU", 60, function=Sfu.RSQRT, a=2, into=half + 2),
        op(config, "SFU", 60, function=Sfu.RECIPROCAL, a=1, into=half + 3),
        op(config, "SFU", 60, function=Sfu.MULTIPLY, a=half, b=half + 2, into=half + 4),
        *chain, op(config, "HALT")]
    # Sums and maxima are negative.
    words = pack_mem(config, np.resize(np.array((-32768, -7), np.int16), config.lanes))
    for link in (two.rtl, two.model):
        link.write(Space.MEM, 0, words)
    two.run(program)
    two.compare_scalars()


def test_faults_are_those_of_the_token():
    """Where addresses depend on the token, a run that keeps the rules has none, whatever the run before it broke."""
    config = CONFIGS[0]
    program = [op(config, "INDEX", register=1, source=Source.TOKEN, bits=2, times=4),
               op(config, "VXM", 90, x=2, dst=Address(1, 1), middle=4, to=To.MEM), op(config, "HALT")]
    tile = EmulatedTile(config)
    tile.write(Space.PROGRAM, 0, pack_program(config, codes(config, program)))
    found = []
    for token in (0, 1):
        tile.start(0, token=token)
        found.append(tile.schedule_faults > 0)
        assert found[-1] == bool(violations(config, program, token=token))
    assert found == [True, False]
