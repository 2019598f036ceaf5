"""`lay_out`: instructions issue in the cycles that they were given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marey.hdl.sequencer import Sequencer
from marey.hdl.spec.isa import WAIT_BITS, Op
from marey.hdl.timing import next_issue, trace
from marey.sw.compiler.emit import lay_out
from tests.configs import CONFIGS, any_config, op


@given(config=any_config, gaps=st.lists(st.integers(0, 5 << WAIT_BITS), min_size=1, max_size=6))
def test_any_distance_can_be_laid_out(config, gaps):
    timed, cycle = [], 0
    for number, gap in enumerate(gaps):
        timed.append((cycle, op(config, "SET", register=1, value=number % 64)))
        cycle += next_issue(config, Op.SET) + gap
    timed.append((cycle, op(config, "HALT")))
    issues = [issue for issue in trace(config, lay_out(config, timed)) if issue.op is not Op.NOP]
    assert [issue.cycle - issues[0].cycle for issue in issues] == [at for at, _ in timed]


def test_too_close():
    with pytest.raises(ValueError, match="too close"):
        lay_out(CONFIGS[0], [(0, op(CONFIGS[0], "LOOP", target=0)), (2, op(CONFIGS[0], "HALT"))])


def test_the_wait_after_a_loop_passes_once():
    program = lay_out(CONFIGS[0], [(0, op(CONFIGS[0], "NOP")), (1, op(CONFIGS[0], "LOOP", count=3)),
                                   (100, op(CONFIGS[0], "HALT"))])
    *_, halt = trace(CONFIGS[0], program)
    # Three turns of 5 cycles: to the loop, and the loop's own 4; then the rest of the 100.
    assert halt.cycle == Sequencer.first_issue(CONFIGS[0]) + 3 * 5 + (100 - 5)
