"""docs/mutants.md: what became of the mutations."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from .result import EQUIVALENT, Result

PAGE = Path(__file__).parents[2] / "docs" / "mutants.md"
REASONS = Path(__file__).with_name("reasons.json")
"""Why a mutation is not found: {place and number: text}."""
COLUMNS = ("drawn programs", "testbench", "test", "slow test", "fuzz", EQUIVALENT)
"""How the names of checks begin, by column of the table; a test counts by its name."""
LATE = (None, "slow test", "fuzz")
"""Columns of mutations that no check of `make test` finds."""
ARGUED = "argued"
"""The column of mutations that no check found, and whose reason says that they are equivalent."""
KINDS = (*COLUMNS, ARGUED, None)
"""The columns of the table that count mutations, in their order."""
HEAD = """# Mutations

Do the tests notice a fault? `make mutants` plants small faults, one at a time, and runs the tests that
should find it. This page is written by that command. What became of each mutation is kept in
`build/mutants/`, and the same command goes on where it was stopped.

```console
$ make mutants                                        # the samples of this page: some hours on two cores
$ python -m tests.mutants --only vxm --only timing    # some of it
$ python -m tests.mutants --only link:square --again  # the ones that were not found, with new tests
```

**Hardware.** A slice becomes a flat netlist. Yosys's `mutate` inverts or holds a bit of a cell's port,
or makes it depend on another bit. All mutations of a slice stand in one netlist, and a number selects
one, so a tile is compiled once and a mutation costs seconds. The sample takes cells from each
component of the slice in turns. Assertions, and the initial contents of memories, are not mutated.
These checks follow one another:

1. *drawn programs*: those of `test_many_programs_on_one_tile_of_each_kind` in
   `tests/test_programs.py`, on a tile that has the slice, compared with the emulator;
2. *equivalent*: Yosys proves that each register and output has the same value as in the original, in
   each cycle. Such a mutation is no fault;
3. *testbench*: the slice's testbench of cocotb, with the slice alone;
4. *test*: tests of the tile and of its link; `tests/mutants/hardware.py` lists them;
5. *fuzz*: {fuzz} drawn programs with another seed; for external memory, which the fuzz does not draw, a
   *slow test*. They are no part of `make test`, so what only they find counts as not found in the
   share.

**Software.** In a module of Python, an operator, a constant or a condition is changed
(`tests/mutants/source.py`). Tests of the part are run to the first that fails. Messages, annotations
and docstrings are not mutated.

The share is that of mutations which a check of `make test` finds, among those that are not equivalent.
Where Yosys has no proof that a mutation is equivalent, but an argument shows it, the mutation counts as
*argued*; the list below has each argument. A place is a slice and the configuration whose netlist it is
(`tests/configs.py`), or a part of the software. The samples of the table are small. What was found at
an earlier commit is kept until the place is run again.

"""


def file(folder: Path, seed: int) -> Path:
    """The file that keeps the results of a place, a line each."""
    return folder / f"results-{seed}.jsonl"


def kept(folder: Path, seed: int) -> dict[int, Result]:
    """The results that a place's folder keeps, by number: of each mutation the last."""
    path = file(folder, seed)
    lines = path.read_text().splitlines() if path.exists() else []
    return {facts["number"]: Result(**facts) for facts in map(json.loads, lines)}


def write(folder: Path, seed: int, names: list[str], fuzz_programs: int) -> None:
    """Writes the page. Of places without results it keeps what the page said before."""
    reasons, counts, lines = json.loads(REASONS.read_text()), *_before(PAGE.read_text())
    for name in names:
        if results := [result for number, result in sorted(kept(folder / name.replace(":", "-"), seed).items()) if number]:
            kinds = [ARGUED if _is_argued(result, reasons) else column(result) for result in results]
            counts[name] = [kinds.count(kind) for kind in KINDS]
            lines[name] = [_survivor(result, reasons) for result in results if column(result) in LATE]
    counts = {name: counts[name] for name in names if name in counts}
    survivors = [line for name in names for line in lines.get(name, [])]
    page = [*_table(counts), "", "## Not found by `make test`", "", *survivors, ""]
    PAGE.write_text(HEAD.replace("{fuzz}", str(fuzz_programs)) + "\n".join(page))


def column(result: Result) -> str | None:
    """The column of the table in which a mutation counts; None if it was not found."""
    if result.found_by is None:
        return None
    return next((name for name in COLUMNS if result.found_by.startswith(name)), "test")


def _before(page):
    """The counts of the page's table, and the lines of its list, by place."""
    rows = re.findall(r"^\| (\S+) \| \d+ \|((?: \d+ \|)+) \d+ % \|$", page, re.MULTILINE)
    lines = {}
    for line, name in re.findall(r"^(- \*\*(\S+) \d+\*\*.*)$", page, re.MULTILINE):
        lines.setdefault(name, []).append(line)
    return {name: [int(count) for count in row.strip("| ").split(" | ")] for name, row in rows}, lines


def _table(counts) -> Iterator[str]:
    """A line for each place, and one for all. `counts`: by place, how many there are of each of `KINDS`."""
    yield f"| place | mutations | {' | '.join(kind or 'not found' for kind in KINDS)} | share |"
    yield "|---|" + "---:|" * (len(KINDS) + 2)
    for name, row in [*counts.items(), ("all", [sum(column) for column in zip(*counts.values(), strict=True)])]:
        real = sum(row) - row[KINDS.index(EQUIVALENT)] - row[KINDS.index(ARGUED)]
        share = sum(row[:KINDS.index("slow test")]) / max(real, 1)
        yield f"| {name} | {sum(row)} | {' | '.join(map(str, row))} | {100 * share:.0f} % |"


def _is_argued(result, reasons):
    """Whether no check found a mutation, and its reason says that it is equivalent."""
    return result.found_by is None and reasons.get(f"{result.place} {result.number}", "").startswith("Equivalent")


def _survivor(result, reasons) -> str:
    """The line of a mutation that no check of `make test` found."""
    where = f" ({result.where})" if result.where else ""
    by = f" Found by: {column(result)}." if result.found_by else ""
    why = reasons.get(f"{result.place} {result.number}", "" if by else "Not looked into yet.")
    return f"- **{result.place} {result.number}**, {result.part}{where}: `{result.text}`.{by} {why}".rstrip()
