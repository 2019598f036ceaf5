"""The promise of the KV cache: keys are written and read where the layout has keys, values where it has values.

The rules of the tile say that addresses are within W-RAM, not whose they are. A compiler that took one address register for
another would write legal programs with wrong results, so each program is held to this promise when it is made.
"""

from collections.abc import Iterator

import numpy as np

from ...hdl.spec.isa import To
from ...hdl.timing import Issue, ProgramError, Unit, trace, uses
from ..model.graph import Kind
from ..program.program import Program
from .external import ExternalLayout
from .layout import Layout
from .streamed import StreamedLayout

Region = list[tuple[int, int]]
"""Ranges of W-RAM words: (first, end), `end` exclusive."""


def regions(layout: Layout) -> tuple[Region, Region]:
    """The W-RAM words of the keys and of the values of all layers."""
    if isinstance(layout, ExternalLayout):
        half, keys, values = layout.config.wram_depth // 2, layout.keys * layout.halves, layout.values * layout.halves
        return [(keys, half)], [(values, 2 * half)]
    if isinstance(layout, StreamedLayout):
        return [(0, layout.values)], [(layout.values, layout.buffer)]
    keys, values, end = (words * layout.halves for words in (layout.keys, layout.values, layout.cache_stride))
    starts = range(0, layout.model.n_layers * layout.words_stride, layout.words_stride)
    return [(start + keys, start + values) for start in starts], [(start + values, start + end) for start in starts]


def check_cache(program: Program, layout: Layout) -> None:
    """ProgramError, in one line, for the first instruction that uses the cache outside of its region."""
    keys, values = regions(layout)
    read = {operation.name: keys if operation.kind is Kind.SCORES else values
            for operation in layout.graph.of_kind(Kind.SCORES, Kind.VALUES)}
    for issue in _issues(program):
        operation = issue.instruction.operation
        if operation not in read and issue.operands.get("to") not in (To.KEYS, To.VALUES):
            continue
        for use in uses(program.config, issue):
            region = {Unit.KEY_WRITE: keys, Unit.VALUE_WRITE: values, Unit.WRAM_FIRST_READ: read.get(operation)}.get(use.unit)
            if region is not None and not _inside(use.addresses, region):
                what = "keys" if region is keys else "values"
                raise ProgramError(f"instruction {issue.pc} ({operation}): W-RAM words {use.addresses.min()} to "
                                   f"{use.addresses.max()} are not all {what} of the cache")


def _issues(program: Program) -> Iterator[Issue]:
    """The issues of a token's runs at the first and at the last position of the context."""
    config, code = program.config, program.image.instructions
    for position in (0, program.model.context - 1):
        if program.one_run:
            yield from trace(config, code, program.entry(position), position=position)
            if block := program.stream and program.stream.block:
                yield from trace(config, code, block.entry, position=block.start(position), count=0)
            continue
        for section in program.stream.sections:
            if section.cached:
                for operand in program.stream.operands(section, position):
                    yield from trace(config, code, section.entry, position=position, count=int(section.chooses), token=operand)
        for entry, _, operand in program.stream.block_runs(config, [position]) if program.stream.block else ():
            yield from trace(config, code, entry, position=position, count=0, token=operand)


def _inside(addresses: np.ndarray, region: Region) -> bool:
    """Whether all addresses are within one range of a region."""
    low, high = int(addresses.min()), int(addresses.max())
    return any(first <= low and high < end for first, end in region)
