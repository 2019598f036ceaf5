"""A VXM with `then`: what its operands may be, and the two instructions that it stands for."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.hdl.spec.chained import CHAIN_CYCLES, TURN_SHIFT, broken, inner_beats, parts
from marey.hdl.spec.integer import silu, sum_of_squares, turn
from marey.hdl.spec.isa import Address, EncodingError, Function, Op, Reduce, Source, Then, To, isa_of
from marey.hdl.timing import Prover, Unit, issue_cycles, trace, uses, violations, vxm_beat, vxm_parts
from marey.sim.emulator import EmulatedTile
from marey.sw.compiler.distances import stream_offset
from marey.sw.compiler.emit import lay_out
from tests.configs import CONFIGS, codes, op

CONFIG = CONFIGS[7]
FACTORS, TABLE = 200, 208


def chained(then, **more):
    """Operands of a legal VXM with `then`, of four results."""
    operands = {"stream": 1, "by_vector": 1, "then": then, "inner": inner_beats(CONFIG, then), "middle": 4, "interval": 16,
                "x": 64, "dst": 64, "x_step": 1, "y": FACTORS, "to": To.MEM}
    operands |= {"reduce": Reduce.SUM, "into": 2} if then is Then.SQUARES else {}
    operands |= {"x_hop": 1, "y_hop": TABLE // 8} if then is Then.TURN else {}
    return operands | more


def product(then, **more):
    """A program that makes four results of 16 words each, and goes on with them."""
    mxm = op(CONFIG, "MXM", inner=16, middle=4)
    vxm = op(CONFIG, "VXM", **chained(then, **more))
    return lay_out(CONFIG, [(0, mxm), (stream_offset(CONFIG, 16), vxm), (400, op(CONFIG, "HALT"))])


def execute(tile, program):
    """Runs a program on an emulated tile, without a fault."""
    tile.program[:len(program)] = codes(CONFIG, program)
    tile.start(0)
    assert tile.schedule_faults == 0


KINDS = [Then.SQUARES, Then.SILU, Then.TURN]


@pytest.mark.parametrize("then", KINDS)
def test_it_is_legal(then):
    assert violations(CONFIG, product(then)) == []


@pytest.mark.parametrize("then", KINDS)
@pytest.mark.parametrize(("wrong", "said"), [
    ({"x": 68}, "x must be 64, not 68"), ({"inner": 12}, "inner must be"), ({"by_vector": 0}, "by_vector must be 1, not 0"),
    ({"narrow": 1}, "narrow must be 0, not 1"),
    ({"paced": 1}, "paced must be 0, not 1"), ({"outer": 2}, "outer must be 1, not 2"), ({"mask": 1}, "mask must be 0"),
    ({"x_step": 0}, "x_step must be 1"), ({"to": To.KEYS}, "to must be MEM, not KEYS"),
    ({"reduce": Reduce.MAX}, "reduce must be"),
    ({"stream": 0}, "stream must be 1"), ({"function": Function.EXP2}, "function must be MULTIPLY, not EXP2"),
    ({"dst": 66, "x": 66}, "dst must be a multiple of 4, not 66")])
def test_what_it_cannot_be_is_refused_with_a_line(then, wrong, said):
    wrong = wrong | ({"into": 2} if "reduce" in wrong else {})
    made = isa_of(CONFIG).make(Op.VXM, **chained(then, **wrong))
    found = broken(CONFIG, {name: value.offset if isinstance(value, Address) else value
                            for name, value in made.operands.items()})
    assert any(line.startswith(f"with then={then.name}, ") and said in line for line in found), found
    assert any(said in each.what for each in violations(CONFIG, product(then, **wrong)))


@pytest.mark.parametrize(("wrong", "said"), [
    ({"x_hop": 2}, "a head of a TURN has 3 results"), ({"middle": 3}, "a TURN of 3 results"),
    ({"y_hop": 27}, "must begin at multiples of a head's 2 results"),
    ({"x": 68, "dst": 68}, "must begin at multiples of a head's 2 results")])
def test_heads_of_a_turn_are_whole_and_begin_at_multiples(wrong, said):
    assert any(said in each.what for each in violations(CONFIG, product(Then.TURN, **wrong)))


@pytest.mark.parametrize(("then", "place"), [(Then.SILU, 65), (Then.SQUARES, 76), (Then.TURN, 72)])
def test_factors_and_rotations_are_not_what_it_writes(then, place):
    """The emulator executes one part after the other, the tile by turns: what one part writes the other must not read."""
    assert any("an earlier beat of the instruction writes" in each.what
               for each in violations(CONFIG, product(then, y=place)))
    if then is Then.TURN:
        assert violations(CONFIG, product(then, y_hop=8))


@pytest.mark.parametrize("then", KINDS)
def test_addresses_and_counts_of_registers_are_proved_for_all_positions_at_once(then):
    """Operands are arrays there, a number a run."""
    place, count = {Then.SQUARES: 16, Then.SILU: 16, Then.TURN: 32}[then], 2 if then is Then.TURN else 1
    mxm = op(CONFIG, "MXM", inner=16, middle=Address(0, 2))
    vxm = op(CONFIG, "VXM", **chained(then, x=Address(64, 1), dst=Address(64, 1), middle=Address(0, 2)))
    index = [op(CONFIG, "INDEX", register=1, source=Source.POSITION, right=2, bits=2, times=place),
             op(CONFIG, "INDEX", register=2, source=Source.POSITION, right=2, bits=2, times=count, value=count)]
    at = 0
    timed = []
    for each in index:
        timed.append((at, each))
        at += issue_cycles(CONFIG, each) + 2
    program = lay_out(CONFIG, [*timed, (at, mxm), (at + stream_offset(CONFIG, 16), vxm), (at + 400, op(CONFIG, "HALT"))])
    runs = [(0, position, 1, 0) for position in range(12)]
    assert all(violations(CONFIG, program, position=position) == [] for _, position, _, _ in runs)
    assert len(Prover(CONFIG, program).check_all(runs)) >= 1


def test_only_a_chained_tile_has_it():
    with pytest.raises(EncodingError, match="no operand then"):
        isa_of(CONFIGS[5]).make(Op.VXM, then=Then.SILU)


@pytest.mark.parametrize("then", KINDS)
def test_its_parts_are_instructions_without_then(then):
    """The cycles of both are those of two such instructions, one CHAIN_CYCLES later."""
    *_, issue, _ = trace(CONFIG, product(then))
    stream, after = vxm_parts(CONFIG, issue)
    assert after.cycle - stream.cycle == CHAIN_CYCLES
    beats = next(use.cycles for use in uses(CONFIG, issue) if use.unit is Unit.VXM_BEAT)
    by_part = [use.cycles for part in (stream, after) for use in uses(CONFIG, part) if use.unit is Unit.VXM_BEAT]
    assert beats.tolist() == sorted(np.concatenate(by_part).tolist())
    first = issue.cycle + vxm_beat(CONFIG)
    assert by_part[0].tolist() == [first + 16 * result + beat for result in range(4) for beat in range(4)]
    assert by_part[1].tolist() == [first + 16 * result + beat for result in range(4)
                                   for beat in range(CHAIN_CYCLES, inner_beats(CONFIG, then))]


def test_without_then_there_is_one_part():
    issue = next(trace(CONFIG, [op(CONFIG, "VXM", 60), op(CONFIG, "HALT")]))
    assert vxm_parts(CONFIG, issue) == [issue]
    assert parts(CONFIGS[0], {"inner": 3}) == [(0, {"inner": 3})]


@settings(max_examples=30, deadline=None)
@given(then=st.sampled_from(KINDS), seed=st.integers(0, 999), shift=st.integers(0, 12), plus=st.integers(0, 1))
def test_values_are_those_of_passes(then, seed, shift, plus):
    """A program with a pass over MEM behind the product leaves the same."""
    tile, wanted = EmulatedTile(CONFIG), EmulatedTile(CONFIG)
    for each in (tile, wanted):
        each.mem[:] = np.random.default_rng(seed).integers(-9000, 9000, len(each.mem))
        each.wram[:] = np.random.default_rng(seed).integers(-8, 8, each.wram.shape)
    run = {"shift": shift, "plus": plus}
    execute(tile, product(then, **run))
    execute(wanted, product(Then.NOTHING, **run, inner=4))
    values = wanted.mem[64:80].astype(np.int64)
    left = tile.mem[64:80].astype(np.int64)
    if then is Then.SQUARES:
        assert left.tolist() == values.tolist() and tile.scalars[2, 0] == sum_of_squares(values)[0]
    elif then is Then.SILU:
        assert left.tolist() == silu(values).tolist()
    else:
        table = wanted.mem[TABLE:TABLE + 16].astype(np.int64).reshape(2, 4, 2)[..., :]
        assert left.tolist() == _turned(values, table).tolist()


def _turned(values, table):
    """Two heads of eight values turned by the rotations (a row of two for each value) of a head: int64 [16].

    `table`: int64 [2, 4, 2]: results of a head, values of a result, and what the value and its neighbour are multiplied by.
    """
    pairs, turned = values.reshape(2, 8, 1)[..., 0], np.zeros((2, 8), np.int64)
    factors = table.reshape(8, 2)
    for value in range(8):
        turned[:, value] = pairs[:, value] * factors[value, 0] + pairs[:, value ^ 1] * factors[value, 1]
    rounded = turned + (1 << TURN_SHIFT - 1) >> TURN_SHIFT
    return np.clip(rounded, -128, 127).ravel()


def test_a_rotation_of_the_golden_model_is_two_factors_a_value():
    """The order in which `turn` has cosines and sines is that of the table that TURN reads."""
    values, angle = np.array([[300, -200]]), np.array([[11000, 12000, -12001]])
    (cos, sin, minus_sin), wanted = angle[0], turn(values, angle, TURN_SHIFT, 8)[0]
    head = np.array([300, -200] * 8)
    table = np.array([[cos, minus_sin], [cos, sin]] * 4).reshape(2, 4, 2)
    assert _turned(head, table)[:2].tolist() == wanted.tolist()


def test_a_tile_that_is_not_chained_keeps_its_instructions():
    assert "then" not in isa_of(replace(CONFIG, chained=0)).make(Op.VXM).operands
