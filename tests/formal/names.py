"""Names for signals that are made several in a line, which Amaranth leaves without one."""

import ast
import inspect
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from unittest import mock

from amaranth import tracer


@contextmanager
def named():
    """In this context a Signal has the name that its line gives it.

    `one, other = Signal(), Signal(4)` makes `one` and `other`, and `row = Row(bits, Signal())` makes
    `row_number`, after the parameter of `Row`. The text of the Verilog has `$signal$7` in their places,
    and is to stay as it is, so only proofs use these names.
    """
    known = tracer.get_var_name

    def name_of(depth=2, default=tracer._raise_exception):
        name = known(depth + 1, default)
        return _name_in_line(sys._getframe(depth)) or name if name == default else name

    with mock.patch.object(tracer, "get_var_name", name_of):
        yield


def _name_in_line(frame):
    """The name for what the call that a frame is at makes; None if there is none."""
    line, _, column, _ = list(frame.f_code.co_positions())[frame.f_lasti // 2]
    for assign in _assignments(frame.f_code.co_filename):
        target, value = assign.targets[0], assign.value
        if not assign.lineno <= line <= assign.end_lineno:
            continue
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for part, made in zip(target.elts, value.elts, strict=True):
                if (made.lineno, made.col_offset) == (line, column):
                    return _plain(part)
        if isinstance(target, ast.Name) and isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
            for number, argument in enumerate(value.args):
                if (argument.lineno, argument.col_offset) == (line, column):
                    return f"{target.id}_{list(inspect.signature(frame.f_globals[value.func.id]).parameters)[number]}"
    return None


@cache
def _assignments(file):
    """The assignments in a Python file."""
    if not Path(file).exists():
        return []
    return [node for node in ast.walk(ast.parse(Path(file).read_text())) if isinstance(node, ast.Assign)]


def _plain(target):
    return target.id if isinstance(target, ast.Name) else getattr(target, "attr", None)
