"""MOVE on a tile: to external memory and back, in the cycles that the timetable has; and what becomes of illegal ones."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.hdl.dram import Dram
from marey.hdl.spec.config import Config, ConfigError
from marey.hdl.spec.isa import Address, EncodingError, Op, Place, Source, To, isa_of
from marey.hdl.spec.packing import pack_mem, unpack_mem
from marey.hdl.spec.protocol import Register, Space
from marey.hdl.timing import Prover, Unit, check, trace, uses, violations
from marey.sim.verilator import open_tile
from marey.sw.compiler.emit import lay_out
from tests.configs import CONFIGS, MEMORY, op
from tests.machines import Machines, machines, small

both = pytest.mark.parametrize("config", MEMORY, ids=lambda config: config.name)
"""Both kinds of weights, two clocks, and two cycles of the chip in one of the tile's."""


@pytest.fixture(scope="module", params=MEMORY, ids=lambda config: config.name)
def tiles(request, compiler):
    """A tile with the model of its chip, compiled by Verilator with all assertions, and an emulated one."""
    found = Machines(request.param, open_tile(request.param, checked=True))
    yield found
    found.close()


def whole(config, to):
    """The fewest bursts that are whole entries."""
    bits = config.rows * config.weight_bits if to is Place.WRAM else config.lanes * 16
    return max(1, bits // (config.memory.part.burst_bytes * 8))


def room(config, to):
    """Bursts that fill W-RAM, or MEM."""
    if to is Place.WRAM:
        return config.wram_depth * config.cols * config.rows * config.weight_bits // (config.memory.part.burst_bytes * 8)
    return config.mem_depth * config.rows * 16 // (config.memory.part.burst_bytes * 8)


def parts(config, to):
    """Entries of W-RAM's words, or granules, in a burst; a burst is no part of an entry in these tests."""
    bits = config.rows * config.weight_bits * config.cols if to is Place.WRAM else config.lanes * 16
    return config.memory.part.burst_bytes * 8 / bits


@st.composite
def moves(draw, config):
    """A few drawn moves, one after another: operands of MOVE."""
    found = []
    for to in draw(st.lists(st.sampled_from([Place.SDRAM, Place.MEM, Place.WRAM]), min_size=1, max_size=5)):
        count = draw(st.integers(1, room(config, to) - 1))
        entries = max(1, int(parts(config, to) * count + 0.999))
        depth = config.wram_depth if to is Place.WRAM else config.granules
        near = draw(st.integers(0, max(depth - entries, 0)))
        far = draw(st.integers(0, config.memory.part.bursts - count))
        found.append({"to": to, "far": far, "near": near, "count": count})
    return found


def timed(config, operands, gaps=(0,) * 6):
    """A program of moves, each as early as the one before it allows, and its HALT."""
    at, program = 0, []
    for number, each in enumerate(operands):
        program.append((at, op(config, "MOVE", **each)))
        at += Dram.plan(config).busy(each["count"]) + gaps[number]
    return lay_out(config, [*program, (at + 20, op(config, "HALT"))])


def test_each_way_in_amaranths_simulator():
    """To external memory, back to MEM, and to W-RAM, from where a column is fetched."""
    config, to = small(MEMORY[0]), Place
    tiles = machines(config)
    values = np.random.default_rng(1).integers(-32768, 32768, config.mem_depth * config.rows).astype(np.int16)
    for link in (tiles.rtl, tiles.model):
        link.write(Space.MEM, 0, pack_mem(config, values))
    # Bursts 125 to 128: each bit of their number changes, and with it row and bank.
    tiles.run(timed(config, [{"to": to.SDRAM, "far": 125, "near": 0, "count": 4},
                             {"to": to.MEM, "far": 126, "near": 8, "count": 3},
                             {"to": to.WRAM, "far": 125, "near": 3, "count": 4}]))
    fetch = [(0, op(config, "MXM", fetch=1, wgt=4)), (1, op(config, "VXM", stream=1, to=To.MEM, dst=15))]
    distance = next(wait for wait in range(1, 40) if not violations(config, lay_out(config, [
        fetch[0], (wait, fetch[1][1]), (wait + 40, op(config, "HALT"))])))
    tiles.run(lay_out(config, [fetch[0], (distance, fetch[1][1]), (distance + 40, op(config, "HALT"))]), token=2)
    tiles.compare_memory()
    found = unpack_mem(config, tiles.memory()[1])
    assert found[8 * 4:14 * 4].tolist() == values[8:32].tolist()
    # Burst 125 + 1 is granules 2 and 3, and the columns of word 3 + 1, a byte a weight.
    assert found[15 * 4:16 * 4].tolist() == values[8 + 2 * 2:][:2].view(np.int8).tolist()


def test_what_depends_on_the_position_follows_a_step():
    """STEP, with which the positions of a block take turns: a loop over positions, and back to the first.

    Each turn leaves masked values at an INDEX. Behind the last position comes the first. Keys and values are in
    `tests/sw/compiler/test_blocks.py`."""
    config = MEMORY[0]
    turn = [
        op(config, "INDEX", register=1, source=Source.POSITION, bits=2, times=2, value=8),
        op(config, "VXM", 14, x=1, inner=2, x_step=1, dst=Address(0, 1), to=To.MEM, mask=1),
        op(config, "STEP", value=1),
    ]
    program = [*turn, op(config, "LOOP", count=3, target=0), op(config, "STEP", value=65536 - 2), *turn[:2], op(config, "HALT")]
    tiles = machines(config)
    tiles.fill(1)
    tiles.run(program, position=65534, count=0)
    tiles.compare_memory()


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 1 << 16))
def test_moves_leave_what_the_emulator_says(tiles, data, seed):
    config = tiles.config
    tiles.fill(seed)
    everything = {"to": Place.SDRAM, "far": 0, "near": 0, "count": room(config, Place.MEM)}
    operands = [everything, *data.draw(moves(config))]
    program = timed(config, operands, data.draw(st.lists(st.integers(0, 2000), min_size=6, max_size=6)))
    assert violations(config, program) == [] and Prover(config, program).proves() == check(config, program)
    tiles.run(program)
    tiles.compare()


@pytest.mark.slow
def test_a_run_of_moves_takes_the_cycles_that_its_length_says(tiles):
    """Wherever the move lies, and whenever it starts."""
    config, plan, found = tiles.config, Dram.plan(tiles.config), set()
    for far, near in ((0, 0), (3, 1), (97, 2)):
        cycles, _ = tiles.run(timed(config, [{"to": Place.MEM, "far": far, "near": near, "count": 3}]))
        found.add(cycles)
    assert len(found) == 1 and found.pop() > plan.busy(3)


@pytest.mark.slow
@pytest.mark.parametrize("to", Place)
def test_a_reset_ends_a_move(tiles, to):
    """Wherever the RESET comes: the chip's rules hold, nothing is written to the tile later, and further moves are right."""
    config = tiles.config
    count = room(config, to) - 1
    for late in (1, 2, 3, 4, 5, 6, 7, 8, 30, 60, 90, 120):
        # One move after the other, for as long as the RESET may take to come.
        starts = range(late, late + 4000, Dram.plan(config).busy(count))
        tiles.load(lay_out(config, [(0, op(config, "NOP")), *((at, op(config, "MOVE", to=to, count=count)) for at in starts),
                                    (starts[-1] + 2000, op(config, "HALT"))]))
        tiles.rtl.start(0)
        tiles.rtl.reset()
        assert tiles.rtl.registers()[Register.CYCLES] < starts[-1]
        tiles.fill(late)
        tiles.compare()
        tiles.fill(late)
        tiles.run(timed(config, [{"to": Place.SDRAM, "far": 7, "near": 0, "count": 12},
                                 {"to": Place.MEM, "far": 9, "near": 30, "count": 5}]))
        tiles.compare()


@both
def test_programs_that_break_a_rule(config):
    """Each rule of a MOVE has a program that breaks it, and is legal a little later."""
    busy = Dram.plan(config).busy(2)
    move = {"to": Place.MEM, "count": 2, "far": 4}

    def broken(*program):
        last = program[-1][0] + 4 * busy
        found = violations(config, lay_out(config, [*program, (last, op(config, "HALT"))]))
        return {str(each).split(": ", 1)[1] for each in found}

    def first(unit, instruction):
        issue, *_ = trace(config, lay_out(config, [(0, instruction), (4 * busy, op(config, "HALT"))]))
        return next(int(use.cycles[0]) - issue.cycle for use in uses(config, issue) if use.unit is unit)

    one = op(config, "MOVE", **move)
    assert broken((0, one), (busy - 1, op(config, "MOVE", to=Place.SDRAM, far=50, near=30, count=1))) == {
        "a MOVE begins before the one before it has ended"}
    assert broken((0, one), (busy, op(config, "MOVE", to=Place.SDRAM, far=50, near=30, count=1))) == set()

    writer = op(config, "VXM", to=To.MEM, dst=40, x=50)
    apart = first(Unit.MEM_FILLED, one) - first(Unit.MEM_WRITE, writer)
    assert broken((0, one), (apart, writer)) == {"a MOVE and a VXM write MEM in one cycle"}
    assert broken((0, one), (apart - 1, writer)) == set()

    sender = op(config, "MOVE", to=Place.SDRAM, near=8, count=2)
    apart = first(Unit.MEM_SENT, sender) - first(Unit.X_READ, writer)
    assert broken((0, sender), (apart, writer)) == {"a MOVE and a VXM read MEM at port x in one cycle"}

    filler = op(config, "MOVE", to=Place.WRAM, count=2)
    key = op(config, "VXM", to=To.KEYS, dst=20, x=50)
    apart = first(Unit.WRAM_FILLED, filler) - first(Unit.KEY_WRITE, key)
    assert broken((0, filler), (apart, key)) == {"a MOVE and a key or value are written to W-RAM in one cycle"}

    reader = op(config, "VXM", to=To.MEM, dst=40, x=0)
    assert any("before an earlier instruction has written it" in what for what in broken((0, one), (2, reader)))
    end = lay_out(config, [(0, one), (busy - 1, op(config, "HALT"))])
    assert "still at work after the end of the run" in str(violations(config, end)[0])


def test_a_tile_without_external_memory_has_no_move():
    with pytest.raises(EncodingError, match="tile 'square' does not have this operation: it takes a configuration with sdram"):
        isa_of(CONFIGS[0]).make(Op.MOVE)
    with pytest.raises(EncodingError, match="does not have this operation"):
        isa_of(CONFIGS[0]).parse("MOVE count=2")
    with pytest.raises(EncodingError, match="does not have this operation"):
        isa_of(CONFIGS[0]).decode(Op.MOVE.value)


def test_only_whole_entries_are_moved():
    config = replace(MEMORY[0], rows=16, lanes=16, cols=16)
    assert op(config, "MOVE", to=Place.MEM, count=2)
    with pytest.raises(EncodingError, match="count must be such that the bursts are entries of 256 bits"):
        op(config, "MOVE", to=Place.MEM, count=3)


@pytest.mark.parametrize(("change", "message"), [
    ({"compact": 1}, "a compact tile has no external memory: set compact or sdram to 0"),
    ({"wram_ports": 1}, "external memory needs a W-RAM that is read and written at once: set wram_ports to 2"),
    ({"sdram_mhz": 190}, "small runs with up to 143 MHz, not 190"),
    ({"sdram_mhz": 80, "sdram_rate": 2}, "small runs with up to 143 MHz, not 160"),
    ({"sdram": 0, "sdram_mhz": 80}, "sdram_mhz, sdram_rate and sdram_sweep_us are for a tile with external memory: set sdram, "
                                    "too"),
    ({"rows": 2, "weight_bits": 4, "lanes": 2}, "rows \\(2\\) is too small for external memory: an entry of 8 bits is no "
                                                "multiple of the 16 bits of its bus"),
])
def test_tiles_that_cannot_have_it(change, message):
    with pytest.raises(ConfigError, match=message):
        replace(MEMORY[0], **change)


def test_a_tile_with_external_memory_is_another_tile():
    plain = replace(MEMORY[0], sdram=0)
    assert plain.memory is None and len({plain.hash, MEMORY[0].hash, replace(MEMORY[0], sdram=1).hash,
                                         replace(MEMORY[0], sdram_mhz=80).hash}) == 4
    assert isinstance(plain, Config)
