"""The readable timetable: programs as text, and text as programs.

A line is an instruction as `marey.hdl.spec.isa` prints it; `;` starts a comment, `NAME:` a label that a LOOP may
name as its target. What `disassemble` writes, `assemble` reads back to the same program.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from ...hdl.spec.config import Config
from ...hdl.spec.isa import EncodingError, Instruction, Isa, Op
from ...hdl.timing import Unit, Use, trace, uses
from .ranges import ONE

SHOWN = {Unit.MXM_BEAT: "MXM", Unit.DRAIN: "results", Unit.VXM_BEAT: "VXM", Unit.SFU_BEAT: "SFU", Unit.MEM_WRITE: "MEM",
         Unit.KEY_WRITE: "keys", Unit.VALUE_WRITE: "values"}
"""Units in the timetable of an instruction, and what they are called there: beats that enter the MXM, its results, beats of
the VXM and the SFU, and writes to MEM and to the KV cache."""


def assemble(config: Config, text: str) -> list[Instruction]:
    """The program that a text describes.

    EncodingError, with the number of the line, for a line that is no instruction, and for a program
    that does not fit the program memory.
    """
    isa, labels, lines = Isa(config), {}, []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.split(";")[0].strip()
        label = re.fullmatch(r"([A-Za-z_]\w*):", line)
        if label:
            labels[label[1]] = len(lines)
        elif line:
            lines.append((number, line))
    program = []
    for number, line in lines:
        try:
            program.append(isa.parse(re.sub(r"target=([A-Za-z_]\w*)", lambda match: _target(match, labels), line)))
        except EncodingError as error:
            raise EncodingError(f"line {number}: {error}") from None
    if len(program) > config.program_depth:
        raise EncodingError(f"{len(program)} instructions, and {config.name} has room for {config.program_depth}")
    return program


def disassemble(config: Config, program: Sequence[Instruction], sections: dict[int, str],
                entries: Sequence[tuple[int, int]] = ONE) -> Iterator[str]:
    """The program as lines of text: each instruction, with the cycle of its issue and the cycles in
    which units work on it.

    `sections`: {number of an instruction: name of the section that begins there}. `entries`: (position, number of
    the instruction at which a run starts there). Cycles are those of that run, and in a loop those of its first turn.
    """
    targets = {instruction["target"] for instruction in program if instruction.op in (Op.LOOP, Op.TOKEN)}
    when = {}
    for position, entry in entries:
        for issue in trace(config, program, entry, position=position):
            when.setdefault(issue.pc, issue)
    for pc, instruction in enumerate(program):
        if pc in sections:
            yield f"; {sections[pc]}"
        if pc in targets:
            yield f"at{pc}:"
        text = re.sub(r"target=(\d+)", r"target=at\1", str(instruction))
        note = f" {instruction.note}" if instruction.note else ""
        yield f"    {text:<76} ; {pc}{note}{_when(config, when.get(pc))}"


def _when(config, issue):
    """The cycles of an issue, as text; empty for None, an instruction that no run reaches."""
    if issue is None:
        return ""
    return f" @ cycle {issue.cycle}" + "".join(f", {span}" for span in spans(uses(config, issue)))


def spans(used: Iterable[Use]) -> list[str]:
    """The first and the last cycle in which the units in `SHOWN` are used, as text: `VXM 24-80`. Both are inclusive."""
    first: dict[Unit, int] = {}
    last: dict[Unit, int] = {}
    for use in used:
        if use.unit in SHOWN:
            first[use.unit] = min(first.get(use.unit, use.cycles[0]), use.cycles[0])
            last[use.unit] = max(last.get(use.unit, use.cycles[-1]), use.cycles[-1])
    return [f"{label} {first[unit]}-{last[unit]}" for unit, label in SHOWN.items() if unit in first]


def _target(match, labels):
    """A LOOP's target with the number of an instruction in place of the label. EncodingError for an
    unknown label."""
    if match[1] not in labels:
        raise EncodingError(f"no label {match[1]!r}")
    return f"target={labels[match[1]]}"
