"""The readable timetable: programs as text, and text as programs.

A line is an instruction as `marey.hdl.spec.isa` prints it; `;` starts a comment, `NAME:` a label that a LOOP may
name as its target. What `disassemble` writes, `assemble` reads back to the same program.
"""

import re
from collections.abc import Iterator, Sequence

from ...hdl.spec.config import Config
from ...hdl.spec.isa import EncodingError, Instruction, Isa, Op
from ...hdl.timing import trace, uses

SHOWN = {"mxm": "MXM", "drain": "results", "stream": "VXM", "mem.write": "MEM write"}
"""Units in the timetable of an instruction, and what they are called there."""


def assemble(config: Config, text: str) -> list[Instruction]:
    """The program that a text describes. EncodingError, with the line number, for a text that is none."""
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
                entries: Sequence[int] = (0,)) -> Iterator[str]:
    """Lines of text: each instruction, with the cycles in which it issues and in which its slices are at work.

    `sections` maps instructions to what begins there; cycles are those of a run at position 0 from each of
    the `entries`, and for an instruction in a loop those of the first time round.
    """
    targets = {instruction["target"] for instruction in program if instruction.op in (Op.LOOP, Op.TOKEN)}
    when = {}
    for entry in entries:
        for issue in trace(config, program, entry):
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
    if issue is None:
        return ""
    spans = [f"{SHOWN[use.unit]} {use.cycles[0]}-{use.cycles[-1]}" for use in uses(config, issue) if use.unit in SHOWN]
    return f" @ cycle {issue.cycle}" + "".join(f", {span}" for span in spans)


def _target(match, labels):
    if match[1] not in labels:
        raise EncodingError(f"no label {match[1]!r}")
    return f"target={labels[match[1]]}"
