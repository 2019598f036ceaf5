"""The walk of a program: which instruction issues in which cycle."""

import pytest

from marey.hdl.isa import Address, Instruction, Op
from marey.hdl.timing import ProgramError, run_cycles, trace, uses
from tests.configs import CONFIGS

CONFIG = CONFIGS[0]


def op(name, wait=0, **operands):
    return Instruction(Op[name], wait, operands)


def test_waits_and_loops():
    program = [
        op("NOP", 4),                                # 0: cycle 2
        op("SET", register=1, value=10),             # 1: cycle 7
        op("ADD", 2, register=1, value=3),           # 2: cycles 8, 15, 22
        op("LOOP", counter=0, count=3, target=2),    # 3: cycles 11, 18, 25
        op("HALT"),                                  # 4: cycle 29
    ]
    walk = [(issue.pc, issue.cycle) for issue in trace(CONFIG, program)]
    assert walk == [(0, 2), (1, 7), (2, 8), (3, 11), (2, 15), (3, 18), (2, 22), (3, 25), (4, 29)]
    *_, halt = trace(CONFIG, program)
    assert run_cycles(halt) == 30


def test_nested_loops_step_addresses():
    mxm = op("MXM", act=Address(1, 1), wgt=Address(0, 2), inner=1, outer=1, act_step=0, wgt_step=0)
    program = [
        op("SET", register=1, value=0), op("SET", register=2, value=60), mxm,
        op("ADD", register=1, value=2), op("LOOP", counter=1, count=2, target=2),
        op("ADD", register=2, value=3), op("LOOP", counter=0, count=2, target=2), op("HALT"),
    ]
    seen = [(issue.operands["act"], issue.operands["wgt"]) for issue in trace(CONFIG, program) if issue.op is Op.MXM]
    assert seen == [(1, 60), (3, 60), (5, 63), (7, 63)]


def test_a_program_starts_where_it_is_entered():
    program = [op("HALT"), op("NOP", 1), op("HALT")]
    assert [issue.pc for issue in trace(CONFIG, program, 1)] == [1, 2]


@pytest.mark.parametrize(("program", "what"), [
    ([op("NOP")], "without HALT"),
    ([op("NOP"), op("LOOP", counter=0, count=2, target=0), op("LOOP", counter=0, count=3, target=0), op("HALT")],
     "still running"),
    ([op("ADD", register=1, value=1), op("HALT")], "never SET"),
    ([op("VXM", scale=Address(0, 2), dst=Address(0), count=1, interval=1, shift=0, narrow=0), op("HALT")], "never SET"),
])
def test_programs_that_cannot_run(program, what):
    with pytest.raises(ProgramError, match=what) as caught:
        list(trace(CONFIG, program))
    assert "\n" not in str(caught.value)


def test_uses_of_a_matrix_product():
    config = CONFIGS[2]
    program = [op("MXM", act=Address(2), wgt=Address(5), inner=3, outer=2, act_step=0, wgt_step=4), op("HALT")]
    found = {use.unit: use for use in uses(config, next(trace(config, program)))}
    assert found["mxm"].cycles.tolist() == [5, 6, 7, 8, 9, 10]
    assert found["mem.act"].addresses.tolist() == [2, 3, 4, 2, 3, 4]
    assert found["wram"].addresses.tolist() == [5, 6, 7, 9, 10, 11]
    # Four granules a result; the columns' results leave one after another.
    first, second = found["drain"].cycles[:4], found["drain"].cycles[4:]
    assert (second - first).tolist() == [3] * 4 and (first[1:] - first[:-1]).tolist() == [1] * 3
