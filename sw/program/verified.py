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
from ...hdl.timing import Prover, check, check_addresses
from ...sim.cache import CacheError, digest, find, kept

WORTH_KEEPING_S = 0.5
"""Seconds of a check from which on its verdict is kept."""
SUFFIX = ".legal"


Runs = list[tuple[int, int, int, int]]
"""Runs that were checked: (entry, position, count, cycles)."""


def verify(program) -> Runs:
    """Checks a program against the rules of the tile; a model's for every number of blocks. Returns the runs that it has
    tried. ProgramError if the program breaks a rule."""
    config, instructions, found = program.config, program.image.instructions, []
    if program.model is None:
        return [(0, 0, 1, check(config, instructions))]

    def run(position, count=1, entry=0, token=0):
        found.append((entry, position, count, prover.check(entry, position=position, count=count, token=token)))

    context, prover = program.model.context, Prover(config, instructions)
    positions = [min(first + config.block, context) - 1 for first in range(0, context, config.block)]
    if not program.one_run:
        for section in program.stream.sections:
            # In a section without the KV cache, only addresses depend on the position.
            for position in positions if section.cached else (0, context - 1):
                for operand in program.stream.operands(section, position):
                    run(position, int(section.chooses), section.entry, operand)
            highest = program.stream.operands(section, context - 1)[1]
            check_addresses(config, instructions, section.entry, position=context - 1, token=highest)
        if program.stream.block:
            for entry, position, operand in program.stream.block_runs(config, (*positions, context - 1)):
                run(position, 0, entry, operand)
                check_addresses(config, instructions, entry, position=context - 1, token=operand)
        return found
    check_addresses(config, instructions, position=context - 1, token=program.model.shape.vocab_size - 1)
    for position in positions:
        run(position)
    if program.stream:
        # The host brings each token's row, so a run makes one token.
        run(0, 0)
        if block := program.stream.block:
            last = block.start(context - 1)
            check_addresses(config, instructions, block.entry, position=last, token=0)
            for position in positions:
                run(block.start(position), 0, block.entry)
        return found
    for position, count in ((0, 0), (context - 1, 0), (config.block - 1, 2)):
        run(min(position, context - 2), count)
    return found


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
        yield f"{program.model.context} {program.model.shape.vocab_size}"
    if stream := program.stream:
        yield f"{stream.sections} {stream.layers} {stream.cells} {stream.cell} {stream.block}"
