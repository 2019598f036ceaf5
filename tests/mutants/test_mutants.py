"""The mutations themselves: `python -m tests.mutants` runs them."""

import ast
import os

import pytest

from marey.hdl.spec.isa import Op
from tests.mutants.forked import forked
from tests.mutants.report import column
from tests.mutants.result import EQUIVALENT, Result
from tests.mutants.slices import part_of
from tests.mutants.source import change, count

SOURCE = '''
"""A text with 1 number."""

def scaled(x: int, most: int = 7) -> int:
    """Another."""
    if x < 0 and not most:
        raise ValueError(f"{x + 1} is below 0")
    return min(x + 1, most)
'''


def test_every_mutation_of_source_changes_one_place():
    found = [change(SOURCE, number) for number in range(count(SOURCE))]
    assert {(each.was, each.becomes) for each in found} == {
        ("7", "8"), ("7", "6"), ("if x < 0 and (not most)", "if True"), ("x < 0 and (not most)", "x < 0 or not most"),
        ("x < 0 and (not most)", "not most"), ("x < 0 and (not most)", "x < 0"), ("x < 0", "x <= 0"), ("0", "1"), ("0", "-1"),
        ("not most", "most"), ("min(x + 1, most)", "max(x + 1, most)"), ("x + 1", "x - 1"), ("1", "2"), ("1", "0")}
    original = ast.unparse(ast.parse(SOURCE))
    for each in found:
        lines = zip(original.splitlines(), ast.unparse(each.tree).splitlines(), strict=True)
        assert sum(was != becomes for was, becomes in lines) == 1
        compile(each.tree, "planted", "exec")


def test_a_cell_is_in_a_component():
    assert part_of("vxm", r"$flatten\lane12.\product.$8") == "vxm.lane.product"
    assert part_of("vxm", r"$flatten\engine1.$procmux$211") == "vxm.engine"
    assert part_of("mem", "$procmux$499") == "mem"


def test_a_check_is_in_a_column():
    def of(found_by):
        return column(Result("vxm:square", 1, "vxm", "", "", "", found_by, 1.0))

    assert of(None) is None
    assert [of(name) for name in (EQUIVALENT, "fuzz", "drawn programs")] == [EQUIVALENT, "fuzz", "drawn programs"]
    assert of("tests/sim/test_emulator.py::test_busy_cycles") == "test"


@pytest.mark.parametrize(("work", "answer"), [(lambda: Op.NOP, Op.NOP), (lambda: None, None),
                                              (lambda: os._exit(1), "a process that ended"),
                                              (lambda: os.read(os.pipe()[0], 1), "a time limit")])
def test_work_in_a_fork(tmp_path, work, answer):
    assert forked(work, 0.5, tmp_path / "log") == answer
