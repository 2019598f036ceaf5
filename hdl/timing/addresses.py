"""Addresses for every position and token of a run: they stay inside their memories.

INDEX makes an address that grows with the position or the token, by `times` for each step of the
source. So if the lowest and the highest address that it can make are inside a memory, all are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ..spec.config import Config
from ..spec.isa import Address, Instruction, Op, Source, isa_of
from .bounds import out_of_bounds
from .uses import uses
from .violation import Violation
from .walk import Issue, ProgramError, trace


@dataclass(frozen=True)
class _Range:
    """How far what an address register holds can be from what it holds in the run that is traced.

    steps    lowest and highest distance
    sources  the position, or the token, at which it is so far away, in words
    """

    steps: tuple[int, int]
    sources: tuple[str, str]


def address_violations(config: Config, program: Sequence[Instruction], entry: int = 0, *, position: int,
                       token: int) -> list[Violation]:
    """Addresses of a run that leave their memory for some position up to `position`, or token up to `token`.

    The run begins at instruction `entry` and makes at most one token.
    """
    ranges: dict[int, _Range] = {}
    found, seen = [], set()
    for issue in trace(config, program, entry, position=position, token=token):
        if issue.op is Op.SET:
            ranges.pop(issue.operands["register"], None)
        elif issue.op is Op.INDEX:
            ranges[issue.operands["register"]] = _range(issue, position, token)
        else:
            for name, moved, source in _moved(issue, ranges):
                key = issue.pc, name, moved
                if key not in seen:
                    seen.add(key)
                    found += _beyond(config, issue, name, moved, source)
    return found


def check_addresses(config: Config, program: Sequence[Instruction], entry: int = 0, *, position: int, token: int) -> None:
    """ProgramError with the first violation that `address_violations` finds."""
    for violation in address_violations(config, program, entry, position=position, token=token):
        raise ProgramError(str(violation))


def _range(issue, position, token):
    """What an INDEX can make, for all positions and tokens up to these."""
    operands = issue.operands
    name, most, now = ("token", token, issue.token) if operands["source"] is Source.TOKEN else (
        "position", position, issue.position)
    right, mask = operands["right"], (1 << operands["bits"]) - 1 if operands["bits"] else -1
    highest = most >> right
    if operands["bits"] and highest > mask:
        highest = mask
    counted = now >> right & mask
    steps = -counted * operands["times"], (highest - counted) * operands["times"]
    return _Range(steps, (f"{name} 0", f"{name} {highest << right}"))


def _moved(issue: Issue, ranges: dict[int, _Range]) -> Iterator[tuple[str, int, str]]:
    """Addresses of an issue at the ends of their ranges: operand, address, and where it is that."""
    if issue.op not in (Op.MXM, Op.VXM):
        return
    for name in ("act", "wgt") if issue.op is Op.MXM else ("x", "y", "dst"):
        given = issue.instruction[name]
        if isinstance(given, Address) and given.base in ranges:
            found = ranges[given.base]
            for step, source in zip(found.steps, found.sources, strict=True):
                if step:
                    yield name, issue.operands[name] + step, source


def _beyond(config, issue, name, moved, source):
    """The violations of an issue whose address `name` is `moved`."""
    bits = isa_of(config).command(issue.op)[name].width
    if moved >> bits:
        return [Violation(f"address {name} is {moved} at {source}, and has {bits} bits", issue.cycle, issue.pc)]
    other = issue._replace(operands=issue.operands | {name: moved})
    return [replace(violation, what=f"{violation.what}, at {source}")
            for use in uses(config, other) if use.unit.access
            for violation in out_of_bounds(config, [(other, use)], use.unit, use.unit.access)]
