"""The check of a program against the rules of the tile, for every position, and its verdict in the cache.

`program` is a `marey.sw.program.program.Program`, whose module imports this one.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path

from ... import hdl
from ...hdl.timing import Prover, Run, check, check_addresses
from ...sim.cache import CacheError, digest, find, kept
from .ranges import spans_of

WORTH_KEEPING_S = 0.1
"""Seconds of a check from which on its verdict is kept."""
SUFFIX = ".legal"


Runs = list[tuple[int, int, int, int]]
"""Runs that were checked: (entry, position, count, cycles)."""


def verify(program) -> Runs:
    """Checks a program against the rules of the tile; a model's for every number of blocks. Returns the runs that it has
    tried. ProgramError if the program breaks a rule."""
    if program.model is None:
        return [(0, 0, 1, check(program.config, program.image.instructions))]
    return Prover(program.config, program.image.instructions).check_all(_runs(program))


def _runs(program) -> Iterator[Run]:
    """The runs of a model's program that stand for all: for every number of blocks. Checks in between the addresses of those
    that they do not stand for."""
    config, instructions, context = program.config, program.image.instructions, program.model.context
    positions = [min(first + config.block, context) - 1 for first in range(0, context, config.block)]
    if not program.one_run:
        for section in program.stream.sections:
            # In a section without the KV cache, only addresses depend on the position.
            for position in positions if section.cached else (0, context - 1):
                for operand in program.stream.operands(section, position):
                    yield section.entry, position, int(section.chooses), operand
            highest = program.stream.operands(section, context - 1)[1]
            check_addresses(config, instructions, section.entry, position=context - 1, token=highest)
        if program.stream.block:
            for entry, position, operand in program.stream.block_runs(config, (*positions, context - 1)):
                yield entry, position, 0, operand
                check_addresses(config, instructions, entry, position=context - 1, token=operand)
        return
    spans = spans_of(program.entries, context)
    for _, end, entry in spans:
        check_addresses(config, instructions, entry, position=end - 1, token=program.model.shape.vocab_size - 1)
    for position in positions:
        yield program.entry(position), position, 1, 0
    if program.stream:
        # The host brings each token's row, so a run makes one token.
        yield 0, 0, 0, 0
        if block := program.stream.block:
            last = block.start(context - 1)
            check_addresses(config, instructions, block.entry, position=last, token=0)
            for position in positions:
                yield block.entry, block.start(position), 0, 0
        return
    for first, end, entry in spans:
        yield entry, first, 0, 0
        yield entry, end - 1, 0, 0
        if end - first > 1:
            yield entry, min(first + config.block - 1, end - 2), 2, 0


def verify_once(program) -> None:
    """The same, but a program that was found legal before is not checked again.

    The cache has a file for each, with the runs that were checked, in JSON. Its name is the digest of all that `verify` looks
    at, and of the source code that says what is legal.
    """
    name = digest(_rules(), *_looked_at(program))
    with suppress(CacheError, OSError):
        if file := find(name, SUFFIX):
            program.know_cycles(json.loads(file.read_text()))
            return
    began = time.perf_counter()
    runs = verify(program)
    program.know_cycles(runs)
    if time.perf_counter() - began > WORTH_KEEPING_S:
        with suppress(CacheError):
            kept(name, SUFFIX, lambda folder: _written(folder, runs))


def _written(folder, runs):
    file = folder / "runs.json"
    file.write_text(json.dumps(runs))
    return file


@cache
def _rules() -> str:
    """The digest of the source code on which a verdict depends: this file, and all that says what a tile does when."""
    content = hashlib.sha256()
    for file in [*sorted(Path(hdl.__file__).parent.rglob("*.py")), Path(__file__)]:
        content.update(file.read_bytes())
    return content.hexdigest()


def _looked_at(program) -> Iterator[str]:
    """All of a program that `verify` looks at, as texts."""
    yield str(asdict(program.config))
    yield str(program.image.codes(program.config))
    if program.model:
        yield f"{program.model.context} {program.model.shape.vocab_size} {program.entries}"
    if stream := program.stream:
        yield f"{stream.sections} {stream.layers} {stream.cells} {stream.cell} {stream.block}"
