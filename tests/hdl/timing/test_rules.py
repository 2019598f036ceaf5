"""The verifier: legal programs pass, and each rule is broken by a program that breaks just it."""

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from marey.hdl.spec.isa import Address, Reduce, To
from marey.hdl.timing import ProgramError, Unit, check, trace, uses, violations, vxm_granules
from marey.sw.compiler.emit import lay_out
from marey.sw.compiler.matmul import matmul
from tests.configs import CONFIGS, any_config, op

CONFIG = CONFIGS[0]
SHAPE = {"inner": 3, "outer": 2, "act": 0, "wgt": 0, "scale": 10, "dst": 20, "shift": 3}


def changed(program, pc, wait=0, **operands):
    """The program with one instruction's wait and operands changed."""
    instruction = program[pc]
    program = list(program)
    program[pc] = replace(instruction, wait=instruction.wait + wait, operands=instruction.operands | operands)
    return program


@given(config=any_config, inner=st.integers(4, 8), outer=st.integers(1, 4), rows=st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_the_scheduler_keeps_the_rules(config, inner, outer, rows):
    dst = rows * inner * config.granules_per_word
    scale = dst + rows * outer * config.beats_per_result
    assume(scale + outer * config.beats_per_result <= config.granules)
    program = matmul(config, rows=rows, inner=inner, outer=outer, act=0, wgt=0, scale=scale, dst=dst, shift=5)
    assert violations(config, program) == []


LEGAL = matmul(CONFIG, **SHAPE)
MXM, VXM, HALT = LEGAL
TAKE = MXM.wait + 1
SFU = op(CONFIG, "SFU", a=1, into=32)
ODD = CONFIGS[2]
"""Depths that are no powers of two, so that addresses can miss."""
ODD_LEGAL = matmul(ODD, inner=4, outer=2, act=0, wgt=0, scale=40, dst=60, shift=3)
LONG = matmul(CONFIG, **SHAPE | {"outer": 10})
PORT = CONFIGS[6]
PORT_LEGAL = matmul(PORT, inner=4, outer=3, act=0, wgt=0, scale=40, dst=20, shift=3)
PORT_TAKE = PORT_LEGAL[0].wait + 1
KEY = op(PORT, "VXM", engine=1, x=60, dst=40, to=To.KEYS)


def other(instruction, **operands):
    return replace(instruction, operands=instruction.operands | operands)


@pytest.mark.parametrize(("config", "program", "what", "pc"), [
    # The results leave, and the VXM comes a cycle late, or early, or not at all; or finds none.
    (CONFIG, changed(LEGAL, 0, wait=1), "no VXM instruction takes it", 0),
    (CONFIG, changed(LEGAL, 0, wait=-1), "does not deliver", 1),
    (CONFIG, [MXM, op(CONFIG, "NOP", 40), HALT], "no VXM instruction takes it", 0),
    (CONFIG, [op(CONFIG, "NOP"), VXM, HALT], "does not deliver", 1),
    # Too many results taken, or too few; or too seldom.
    (CONFIG, changed(LEGAL, 1, middle=3), "does not deliver", 1),
    (CONFIG, changed(LEGAL, 1, middle=1), "no VXM instruction takes it", 0),
    (CONFIG, changed(LEGAL, 1, interval=4), "no VXM instruction takes it", 0),
    # Two at a time.
    (CONFIG, lay_out(CONFIG, [(0, MXM), (4, MXM), (30, HALT)]), "two beats enter the MXM", 1),
    (CONFIG, lay_out(CONFIG, [(0, MXM), (4, MXM), (30, HALT)]), "an instruction for the MXM begins before", 1),
    (CONFIG, lay_out(CONFIG, [(0, VXM), (2, VXM), (30, HALT)]), "begins before the one before it has ended", 1),
    (CONFIG, lay_out(CONFIG, [(0, VXM), (3, other(VXM, engine=1)), (30, HALT)]), "two beats enter the VXM", 1),
    (CONFIG, lay_out(CONFIG, [(0, VXM), (3, other(VXM, engine=1)), (30, HALT)]), "two beats of the VXM take a granule", 1),
    (CONFIG, lay_out(CONFIG, [(0, SFU), (5, SFU), (30, HALT)]), "a beat of the scalar unit begins before", 1),
    (CONFIG, lay_out(CONFIG, [(0, op(CONFIG, "PERIOD", value=20)), (5, other(SFU, count=2)), (15, SFU), (50, HALT)]),
     "an instruction for the scalar unit begins before", 2),
    (CONFIG, lay_out(CONFIG, [(0, op(CONFIG, "PERIOD", value=5)), (5, other(SFU, count=2)), (30, HALT)]),
     "a beat of the scalar unit begins before", 1),
    (CONFIG, lay_out(CONFIG, [(0, op(CONFIG, "VXM", reduce=Reduce.MAX, into=1)), (1, SFU), (60, HALT)]),
     "scalar 1 is read before", 1),
    # Addresses beyond the memories.
    (ODD, changed(ODD_LEGAL, 0, act=Address(58)), "mem.act address 60", 0),
    (ODD, changed(ODD_LEGAL, 0, wgt=Address(45)), "wram address 50", 0),
    (ODD, changed(ODD_LEGAL, 1, y=Address(115)), "mem.y address 120", 1),
    (ODD, changed(ODD_LEGAL, 1, dst=Address(119)), "mem.write address 120", 1),
    # Reads of what a copy of MEM does not keep.
    (replace(CONFIG, act_first=16, act_depth=32), LEGAL, "mem.act address 0 is outside its window of 32 entries from 16 on", 0),
    (replace(CONFIG, y_depth=32), LEGAL, "mem.y address 10 is outside its window of 32 entries from 32 on", 1),
    (replace(CONFIG, x_depth=20), [op(CONFIG, "VXM", 60, x=20, to=To.MEM), HALT], "mem.x address 20 is outside its window", 0),
    # MEM out of order: read before it is written, written before it is read.
    (CONFIG, lay_out(CONFIG, [(0, MXM), (TAKE, VXM), (TAKE + 2, other(MXM, act=Address(20))), (90, HALT)]),
     "read before an earlier instruction has written it", 2),
    (CONFIG, lay_out(CONFIG, [(0, MXM), (TAKE, VXM), (TAKE + 7, other(VXM, y=Address(20))), (90, HALT)]),
     "read before an earlier instruction has written it", 2),
    # A round that adds to what the one before it has not written yet.
    (CONFIG, [op(CONFIG, "VXM", 60, x=5, x_step=1, plus=1, y=20, y_step=1, inner=2, outer=2, dst=20, to=To.MEM), HALT],
     "MEM granule 20 is read before", 0),
    (CONFIG, changed(LONG, 1, dst=Address(0)), "written before an earlier instruction has used it", 1),
    # A key written into W-RAM that has one port, within a product.
    (PORT, lay_out(PORT, [(0, PORT_LEGAL[0]), (1, KEY), (PORT_TAKE, PORT_LEGAL[1]), (60, HALT)]), "has one port, is read", 0),
    # The end before the last write.
    (CONFIG, changed(LEGAL, 1, wait=-1), "still at work", 1),
])
def test_every_rule(config, program, what, pc):
    found = violations(config, program)
    assert any(what in violation.what and violation.pc == pc for violation in found), [str(v) for v in found]
    with pytest.raises(ProgramError) as caught:
        check(config, program)
    assert "\n" not in str(caught.value)


def test_a_violation_names_its_cycle():
    """A result that nobody takes leaves in the cycle that `uses` says."""
    (found,) = violations(CONFIG, [MXM, op(CONFIG, "NOP", 40), HALT])
    drain = next(use for use in uses(CONFIG, next(trace(CONFIG, [MXM, HALT]))) if use.unit is Unit.DRAIN)
    assert found.cycle == drain.cycles[0] and str(found).startswith(f"cycle {drain.cycles[0]}, instruction 0: ")


def test_legal_programs_have_no_violations():
    for config, program in ((CONFIG, LEGAL), (ODD, ODD_LEGAL), (CONFIG, LONG)):
        assert violations(config, program) == []


@given(config=any_config, x=st.integers(0, 12), dst=st.integers(0, 12), inner=st.integers(1, 6), outer=st.integers(1, 3),
       hop=st.integers(0, 6), plus=st.integers(0, 1), pair=st.integers(0, 1))
@settings(max_examples=100, deadline=None)
def test_a_beat_does_not_read_what_an_earlier_beat_writes(config, x, dst, inner, outer, hop, plus, pair):
    """The rule against a count of all pairs of beats; with `plus`, rounds may read what earlier rounds have written."""
    inner *= 1 + pair
    vxm = op(config, "VXM", 400, x=x, x_step=1, x_hop=hop, dst=dst, dst_hop=hop, inner=inner, outer=outer, plus=plus,
             pair=pair, y=20, paced=1, to=To.MEM)
    program = [op(config, "PERIOD", value=63), vxm, op(config, "HALT")]
    issue = list(trace(config, program))[1]
    granules = vxm_granules(config, issue.operands)
    reads = [(o, b, int(granules.x[o, b])) for o in range(outer) for b in range(inner)]
    reads += [(o, b, 20) for o in range(outer) for b in range(inner) if plus]
    writes = [(o, b, int(granules.dst[o, b])) for o in range(outer) for b in range(inner) if granules.complete[b]]
    wrong = any(entry == written and (o, b) > (p, c) and not (plus and o > p)
                for o, b, entry in reads for p, c, written in writes)
    found = [str(violation) for violation in violations(config, program)]
    assert any("which an earlier beat of the instruction writes" in what for what in found) == wrong
    assert wrong or not found


@given(config=any_config, scalar=st.integers(0, 9), hop=st.integers(0, 1), into=st.integers(1, 9), outer=st.integers(1, 4),
       plus=st.integers(0, 1))
@settings(max_examples=60, deadline=None)
def test_a_round_does_not_read_the_scalar_of_an_earlier_one(config, scalar, hop, into, outer, plus):
    vxm = op(config, "VXM", 200, scalar=scalar, scalar_hop=hop, into=into, outer=outer, plus=plus, reduce=Reduce.SUM, paced=1)
    program = [op(config, "PERIOD", value=31), vxm, op(config, "HALT")]
    wrong = any(scalar + hop * later == into + earlier for later in range(outer) for earlier in range(later))
    found = violations(config, program)
    assert bool(found) == (wrong and not plus)
    assert all("which an earlier beat" in violation.what for violation in found)


@pytest.mark.parametrize("engines", [(0, 1), (1, 0)])
def test_two_instructions_are_not_reduced_at_the_same_time(engines):
    """The beats of the second are in the gaps of the first, whose sum would take them in."""
    def program(reduce):
        first = op(CONFIG, "VXM", engine=engines[0], middle=4, interval=8, reduce=Reduce.SUM, into=1)
        second = op(CONFIG, "VXM", engine=engines[1], middle=3, interval=8, **reduce)
        return lay_out(CONFIG, [(0, first), (3, second), (90, HALT)])

    assert violations(CONFIG, program({})) == []
    for reduce in ({"reduce": Reduce.MAX, "into": 5}, {"reduce": Reduce.ARGMAX}):
        found = violations(CONFIG, program(reduce))
        assert any("a round is reduced before the one before it has ended" in v.what and v.pc == 1 for v in found)


def test_nothing_goes_on_after_a_token():
    """A run of several tokens is as legal as its tokens are one by one."""
    def program(wait):
        return [op(CONFIG, "VXM", wait, x=20, inner=8, to=To.MEM), op(CONFIG, "TOKEN", target=2), op(CONFIG, "NOP", 90), HALT]

    legal = [wait for wait in range(40) if not violations(CONFIG, program(wait))]
    assert legal == list(range(legal[0], 40)) and legal[0] > 0
    found = violations(CONFIG, program(legal[0] - 1))
    assert ["still at work after a token" in violation.what for violation in found] == [True]
