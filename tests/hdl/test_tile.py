"""The tile's RTL in Amaranth's simulator: values, cycles, and what becomes of illegal programs."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from marey.hdl.spec import integer
from marey.hdl.spec.isa import Function, Op, Source, To, functions
from marey.hdl.spec.packing import pack_mem, pack_program, pack_wram, unpack_mem
from marey.hdl.spec.protocol import Register, Space, entry_bits, parts
from marey.hdl.timing import Unit, check, violations
from marey.sim import pysim
from marey.sim.endpoint import Endpoint
from marey.sim.simulation import ScheduleFault
from marey.sw.compiler.emit import lay_out
from marey.sw.compiler.matmul import matmul
from marey.sw.runtime.link import Link
from tests.configs import CONFIGS, GATED, any_config, codes, op
from tests.machines import machines, small

TILES = {}
"""Tiles in Amaranth's simulator by configuration, which tests share, since one takes two seconds to open."""


def open_tile(config):
    """The shared tile of a configuration. A simulation ends with its first fault: then `TILES.pop(config)`."""
    if config not in TILES:
        TILES[config] = pysim.open_tile(config)
    return TILES[config]


def load(config, link, program, seed, shape):
    """Random weights, activations and factors for a matrix product; returns them."""
    rows, inner, outer, _, _, scale = shape
    rng = np.random.default_rng(seed)
    limit = 1 << config.weight_bits - 1
    weights = rng.integers(-limit, limit, (inner * outer, config.cols, config.rows)).astype(np.int8)
    x = rng.integers(-128, 128, rows * inner * config.rows).astype(np.int16)
    factors = rng.integers(0, 32768, outer * config.cols).astype(np.int16)
    size = parts(entry_bits(config, Space.MEM))
    link.write(Space.PROGRAM, 0, pack_program(config, codes(config, program)))
    link.write(Space.WRAM, 0, pack_wram(config, weights))
    link.write(Space.MEM, 0, pack_mem(config, x))
    link.write(Space.MEM, scale * size, pack_mem(config, factors))
    return weights, x, factors


def results(config, link, shape):
    rows, _, outer, _, dst, _ = shape
    size = parts(entry_bits(config, Space.MEM))
    granules = rows * outer * config.beats_per_result
    return unpack_mem(config, link.read(Space.MEM, dst * size, granules * size)).reshape(rows, -1)


@st.composite
def products(draw):
    config = draw(any_config)
    rows, outer = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    inner = draw(st.integers(1, 5))
    dst = rows * inner * config.granules_per_word
    scale = dst + rows * outer * config.beats_per_result
    assume(scale + outer * config.beats_per_result <= config.granules and inner * outer <= config.wram_depth)
    shift = draw(st.integers(0, 30))
    program = matmul(config, rows=rows, inner=inner, outer=outer, act=0, wgt=0, scale=scale, dst=dst, shift=shift)
    return config, program, (rows, inner, outer, shift, dst, scale), draw(st.integers(0, 1000))


def expected(config, shape, weights, x, factors):
    """The product in plain numpy integers, rounding and saturation spelled out."""
    rows, inner, outer, shift, *_ = shape
    matrix = weights.reshape(outer, inner, config.cols, config.rows).transpose(0, 2, 1, 3).reshape(outer * config.cols, -1)
    scaled = (x.reshape(rows, -1).astype(np.int64) @ matrix.T.astype(np.int64)) * factors
    rounded = np.floor_divide(2 * scaled + (1 << shift), 2 << shift)
    return np.clip(rounded, -32768, 32767)


@settings(max_examples=12, deadline=None)
@given(products())
def test_values_and_cycles(product):
    config, program, shape, seed = product
    link = Link(open_tile(config), config)
    for again in range(2):
        values = load(config, link, program, seed + again, shape)
        link.start(0)
        assert link.wait() == (check(config, program), 0, [])
        assert np.array_equal(results(config, link, shape), expected(config, shape, *values))


@settings(max_examples=20, deadline=None)
@given(products(), st.data())
def test_a_moved_instruction_is_harmless_or_caught(product, data):
    """A wait or a count changed: the verifier finds fault with it just when the RTL's promises break."""
    config, program, shape, seed = product
    at = data.draw(st.integers(0, len(program) - 2))
    change = data.draw(st.integers(-2, 2))
    assume(program[at].wait + change >= 0)
    program = list(program)
    program[at] = replace(program[at], wait=program[at].wait + change)
    broken = {violation.what for violation in violations(config, program)}
    promises = {what for unit in Unit for what in (unit.facts.clash if unit.rival is unit else "", unit.facts.alone)} - {""}
    tile = open_tile(config)
    link = Link(tile, config)
    values = load(config, link, program, seed, shape)
    try:
        link.start(0)
        _, faults, _ = link.wait()
        # What is still on its way at the end of the run shows later.
        assert faults == 0
        assert tile.drain() is None
    except ScheduleFault:
        TILES.pop(config)
        assert broken & promises
        return
    assert not broken & promises
    if not broken:
        assert np.array_equal(results(config, link, shape), expected(config, shape, *values))


def test_one_port_is_read_or_written():
    """A key goes into W-RAM before, within or behind a product: the RTL finds fault with just what the verifier does."""
    config, shape = CONFIGS[6], (1, 4, 3, 10, 20, 40)
    mxm, vxm, halt = matmul(config, inner=4, outer=3, act=0, wgt=0, scale=40, dst=20, shift=10)
    key = op(config, "VXM", engine=1, x=60, dst=40, to=To.KEYS)

    def program(at):
        placed = [(at, key), (30, mxm), (30 + mxm.wait + 1, vxm), (100, halt)]
        return lay_out(config, sorted(placed, key=lambda entry: entry[0]))

    found = {at: {violation.what for violation in violations(config, program(at))} for at in range(30 + mxm.wait) if at != 30}
    wrong = [at for at, what in found.items() if what == {Unit.WRAM_PORT_READ.facts.clash}]
    for at in (wrong[0] - 1, wrong[0], wrong[-1], wrong[-1] + 1):
        link = Link(open_tile(config), config)
        values = load(config, link, program(at), 1, shape)
        link.start(0)
        if at in wrong:
            with pytest.raises(ScheduleFault, match="one port"):
                link.wait()
            TILES.pop(config)
            continue
        assert link.wait() == (check(config, program(at)), 0, [])
        assert np.array_equal(results(config, link, shape), expected(config, shape, *values))


def test_emulator_and_rtl_answer_alike():
    """The same traffic, word for word, but for the registers that count simulated things."""
    config = CONFIGS[1]
    program = matmul(config, rows=2, inner=4, outer=3, act=0, wgt=0, scale=100, dst=40, shift=18)
    shape = (2, 4, 3, 18, 40, 100)
    answers = []
    for transport in (pysim.open_tile(config), Endpoint(config)):
        link = Link(transport, config)
        values = load(config, link, program, 3, shape)
        link.start(0)
        run = link.wait()
        whole = [link.read(space, 0, count * parts(entry_bits(config, space)))
                 for space, count in ((Space.MEM, config.granules), (Space.PROGRAM, config.program_depth))]
        answers.append((run, [words.tolist() for words in whole], link.registers(), link.words_received))
        assert np.array_equal(results(config, link, shape), expected(config, shape, *values))
    assert answers[0] == answers[1]
    assert answers[0][2][Register.RUNS] == 1


@pytest.mark.parametrize("config", GATED, ids=lambda config: config.name)
def test_every_function_of_a_tile_is_what_the_emulator_has(config):
    """Each function over the same vector, on the RTL and on the emulated tile: values, cycles, promises."""
    granules, engine, answers = 20, {"engine": 1} if config.engines > 1 else {}, []
    program = [op(config, "VXM", 100, function=function, x_step=1, inner=granules, dst=granules * (number + 1),
                  to=To.MEM, shift=14 if function is Function.EXP2 else 15, **engine)
               for number, function in enumerate(functions(config))]
    program.append(op(config, "HALT"))
    values = np.random.default_rng(1).integers(-32768, 32768, granules * config.lanes).astype(np.int16)
    size = parts(entry_bits(config, Space.MEM))
    for transport in (pysim.open_tile(config), Endpoint(config)):
        link = Link(transport, config)
        link.write(Space.PROGRAM, 0, pack_program(config, codes(config, program)))
        link.write(Space.MEM, 0, pack_mem(config, values))
        link.start(0)
        assert link.wait() == (check(config, program), 0, [])
        read = link.read(Space.MEM, granules * size, len(functions(config).members) * granules * size)
        answers.append(unpack_mem(config, read).reshape(-1, len(values)))
        transport.close()
    assert np.array_equal(*answers)
    assert np.array_equal(answers[0][Function.GELU.value], integer.gelu(values.astype(np.int64)))


def test_a_run_is_stopped_by_reset_and_the_tile_goes_on():
    config = CONFIGS[0]
    program = matmul(config, inner=4, outer=8, act=0, wgt=0, scale=40, dst=10, shift=10)
    endless = [replace(instruction, wait=10000) if instruction.op is Op.VXM else instruction for instruction in program]
    shape = (1, 4, 8, 10, 10, 40)
    link = Link(open_tile(config), config)
    load(config, link, endless, 1, shape)
    link.start(0)
    link.reset()
    assert link.registers()[Register.CYCLES] < 9000
    values = load(config, link, program, 2, shape)
    link.start(0)
    assert link.wait() == (check(config, program), 0, [])
    assert np.array_equal(results(config, link, shape), expected(config, shape, *values))


@pytest.mark.parametrize("config", [CONFIGS[0], CONFIGS[5]], ids=lambda config: config.name)
def test_the_link_moves_no_run_by_a_cycle(config):
    """Registers are read, and tokens are put out, while a run waits, multiplies and loops: it takes the predicted cycles."""
    two = machines(small(config))
    program = [op(two.config, "NOP", 10), op(two.config, "INDEX", register=1, source=Source.POSITION, times=3),
               op(two.config, "NOP", 150), op(two.config, "TOKEN", 30, target=0), op(two.config, "NOP", 100),
               op(two.config, "LOOP", count=3, target=4), op(two.config, "HALT")]
    cycles, tokens = two.run(program, count=3, position=5)
    assert cycles == check(two.config, program, count=3, position=5) and len(tokens) == 3
    for _ in range(2):
        two.rtl.start(0, count=3, position=5)
        seen = [two.rtl.registers()[Register.CYCLES] for _ in range(3)]
        assert 0 < seen[0] < seen[-1] < cycles
        assert two.rtl.wait()[0] == cycles
