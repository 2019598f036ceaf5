"""What the schedule promises the MXM: a program that breaks it is found by the verifier, and by the hardware alone."""

from contextlib import suppress

import pytest

from marey.hdl.spec.packing import pack_program
from marey.hdl.spec.protocol import Space
from marey.hdl.timing import Unit, issue_cycles, violations
from marey.sim import verilator
from marey.sim.simulation import ScheduleFault
from marey.sw.compiler.emit import lay_out
from marey.sw.compiler.matmul import matmul
from marey.sw.runtime.link import Link
from tests.configs import CONFIGS, codes, op


def test_a_fetched_word_meets_a_result(compiler):
    """Wherever a fetch stands such that its granule leaves with one of a product, and breaks no other rule."""
    config = CONFIGS[0]
    mxm, vxm, halt = matmul(config, inner=4, outer=3, act=0, wgt=0, scale=48, dst=32, shift=10)
    product, meeting = [(0, mxm), (issue_cycles(config, mxm), vxm), (300, halt)], []
    for at in range(100):
        # Two instructions cannot issue in one cycle.
        with suppress(ValueError):
            program = lay_out(config, sorted([*product, (at, op(config, "MXM", fetch=1))], key=lambda entry: entry[0]))
            if {violation.what for violation in violations(config, program)} == {Unit.DRAIN.facts.clash}:
                meeting.append(program)
    assert meeting
    for program in meeting:
        with verilator.open_tile(config, checked=True) as tile:
            link = Link(tile, config)
            link.write(Space.PROGRAM, 0, pack_program(config, codes(config, program)))
            link.start(0)
            with pytest.raises(ScheduleFault, match="collision"):
                link.wait()
