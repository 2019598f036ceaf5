"""Mutations of Python source: operators, constants and conditions, one at a time."""

import ast
from dataclasses import dataclass

COMPARISONS = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
               ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is}
OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.LShift: ast.RShift,
             ast.RShift: ast.LShift}
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}
"""Functions, and those that take their places."""


@dataclass(frozen=True)
class Change:
    """A mutation of a module: `line` of the source, the expression as it `was`, and what it `becomes`; `tree` has it."""

    line: int
    was: str
    becomes: str
    tree: ast.Module


def count(source: str) -> int:
    """Mutations that a module has."""
    mutator = _Mutator(-1)
    mutator.visit(ast.parse(source))
    return mutator.seen


def change(source: str, number: int) -> Change:
    """Mutation `number` of a module, from 0 on."""
    mutator = _Mutator(number)
    tree = ast.fix_missing_locations(mutator.visit(ast.parse(source)))
    return Change(*mutator.found, tree)


class _Mutator(ast.NodeTransformer):
    """Counts the mutations of a tree, and plants one of them. Texts of messages, annotations and docstrings have none."""

    def __init__(self, number):
        self._number, self.seen, self.found = number, 0, None

    def visit(self, node):
        if isinstance(node, (ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom, ast.FormattedValue)):
            return node
        for becomes in _variants(node):
            self.seen += 1
            if self.seen == self._number + 1:
                self.found = node.lineno, ast.unparse(node), ast.unparse(becomes)
                return becomes
        return super().visit(node)

    def generic_visit(self, node):
        for name in ("annotation", "returns", "decorator_list"):
            if value := getattr(node, name, None):
                # They are put back as they were.
                setattr(node, name, [] if name == "decorator_list" else None)
                try:
                    return self.generic_visit(node)
                finally:
                    setattr(node, name, value)
        if isinstance(node, (ast.If, ast.While)):
            node.test = self._condition(node.test)
        if isinstance(node, ast.comprehension):
            node.ifs = [self._condition(test) for test in node.ifs]
        return super().generic_visit(node)

    def _condition(self, test):
        """The condition, or what it becomes: always true."""
        self.seen += 1
        if self.seen == self._number + 1:
            self.found = test.lineno, f"if {ast.unparse(test)}", "if True"
            return ast.copy_location(ast.Constant(True), test)
        return test


def _variants(node):
    """What an expression may become."""
    match node:
        case ast.Compare(left=left, ops=[op], comparators=right) if type(op) in COMPARISONS:
            yield ast.Compare(left, [COMPARISONS[type(op)]()], right)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            yield ast.BinOp(left, OPERATORS[type(op)](), right)
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
            for index in range(len(values)):
                rest = values[:index] + values[index + 1:]
                yield ast.BoolOp(op, rest) if len(rest) > 1 else rest[0]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() as value):
            yield ast.Constant(value + 1)
            yield ast.Constant(value - 1)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield ast.IfExp(test, orelse, body)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords) if name in CALLS:
            yield ast.Call(ast.Name(CALLS[name], ast.Load()), args, keywords)
