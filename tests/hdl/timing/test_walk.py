"""The walk of a program: which instruction issues in which cycle."""

import pytest

from marey.hdl.spec.isa import Address, MxmBlocks, Op, Source
from marey.hdl.timing import ProgramError, run_cycles, trace, uses
from tests.configs import CONFIGS
from tests.configs import op as make

CONFIG = CONFIGS[0]


def op(name, wait=0, **operands):
    return make(CONFIG, name, wait, **operands)


def test_waits_and_loops():
    program = [
        op("NOP", 4),                                # 0: cycle 3
        op("SET", register=1, value=10),             # 1: cycle 8
        op("ADD", 2, register=1, value=3),           # 2: cycles 9, 16, 23
        op("LOOP", counter=0, count=3, target=2),    # 3: cycles 12, 19, 26
        op("HALT"),                                  # 4: cycle 30
    ]
    walk = [(issue.pc, issue.cycle) for issue in trace(CONFIG, program)]
    assert walk == [(0, 3), (1, 8), (2, 9), (3, 12), (2, 16), (3, 19), (2, 23), (3, 26), (4, 30)]
    *_, halt = trace(CONFIG, program)
    assert run_cycles(halt) == 30


def test_nested_loops_step_addresses():
    mxm = op("MXM", act=Address(1, 1), wgt=Address(0, 2), inner=1, outer=1)
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
    ([op("VXM", x=Address(0, 2)), op("HALT")], "never SET"),
])
def test_programs_that_cannot_run(program, what):
    with pytest.raises(ProgramError, match=what) as caught:
        list(trace(CONFIG, program))
    assert "\n" not in str(caught.value)


def test_uses_of_a_matrix_product():
    config = CONFIGS[2]
    program = [make(config, "MXM", act=2, wgt=5, inner=4, middle=2, wgt_step=5), make(config, "HALT")]
    found = {use.unit: use for use in uses(config, next(trace(config, program)))}
    assert found["mxm"].cycles.tolist() == [5, 6, 7, 8, 9, 10, 11, 12]
    assert found["mem.act"].addresses.tolist() == [2, 3, 4, 5, 2, 3, 4, 5]
    assert found["wram"].addresses.tolist() == [5, 6, 7, 8, 10, 11, 12, 13]
    # Four granules a result; the columns' results leave one after another.
    first, second = found["drain"].cycles[:4], found["drain"].cycles[4:]
    assert (second - first).tolist() == [4] * 4 and (first[1:] - first[:-1]).tolist() == [1] * 3


def test_positions_periods_and_tokens():
    """Blocks are of 4 positions here: the third begins at 8."""
    program = [
        op("INDEX", register=1, source=Source.POSITION, right=1, bits=2, times=5, value=3),  # 0: cycles 3, 44
        op("PERIOD", times=4, value=-2, least=6),                                            # 1: cycles 7, 48
        op("NOP", 1, turns=2, blocks=2),                                                     # 2: cycles 11, 52
        op("MXM", act=Address(0, 1), inner=1, middle=1, blocks=MxmBlocks.MIDDLE, outer=2, paced=1),
        op("TOKEN", target=0),
        op("HALT", if_prompt=1),
        op("HALT"),
    ]
    issues = list(trace(CONFIG, program, position=7, count=2))
    products = [issue for issue in issues if issue.op is Op.MXM]
    # Position 7: two blocks, a period of 6; position 8: three, and 10.
    assert [issue.operands["middle"] for issue in products] == [4, 6]
    assert [issue.operands["act"] for issue in products] == [3 + 3 * 5, 3]
    assert [issue.period for issue in products] == [6, 10]
    assert [issue.cycle for issue in products] == [11 + 2 + 2 * 6 + 2 * 2, 29 + 1 + 4 + 8 + 2 + 2 * 10 + 2 * 3]
    assert [issue.position for issue in products] == [7, 8] and issues[-1].pc == 5
