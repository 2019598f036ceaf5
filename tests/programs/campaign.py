"""Runs drawn programs on emulator and RTL, and compares them."""

import random
from collections.abc import Callable, Iterator
from itertools import islice
from math import prod
from time import monotonic

from marey.hdl.spec.config import Config
from marey.hdl.spec.isa import Instruction, isa_of
from marey.hdl.timing import ProgramError, trace, violations
from marey.sim.simulation import BackendError
from marey.sw.runtime.link import LinkError
from tests.machines import Machines

from .author import Author, drawn
from .configurations import any_configuration
from .found import Found, classes, kind
from .shrink import shrunk

Run = tuple[list[Instruction], dict[str, int]]
"""A program, and how it is started: position, token, count."""
DIFFERS = (AssertionError, BackendError, LinkError, ProgramError)
"""What says that the two machines differ: a comparison, an assertion of the RTL, a tile that hangs or refuses,
an emulator that refuses what the rules allow."""


def simulate(seed: int, number: int, programs: int, open_machines: Callable[[Config], Machines], until: float = float("inf"),
             ) -> Found:
    """Programs on one drawn configuration, see `simulate_on`. `seed` and `number` decide all that is drawn."""
    rng = random.Random(f"{seed}.{number}")
    return simulate_on(any_configuration(rng), rng, programs, open_machines, until)


def simulate_on(config: Config, rng: random.Random, programs: int, open_machines: Callable[[Config], Machines],
                until: float = float("inf"), **how: float) -> Found:
    """Programs on a configuration, one after another, so that each meets what those before it have left.

    `programs` are drawn, legal or not, unless the clock (`time.monotonic`) reaches `until` before. `how` is handed to
    `Author`.
    """
    found, author, data, both, runs = Found(configurations=1), Author(config, rng, **how), rng.randrange(1 << 16), None, []
    for run in legal_runs(author, programs, found, until):
        if both is None:
            both = open_machines(config)
            both.fill(data)
        runs.append(run)
        if error := difference(both, *run):
            found.failures.append(_pasted(config, data, shrunk(config, data, runs, open_machines), error))
            return found
    if both and (error := difference(both)):
        found.failures.append(_pasted(config, data, runs[-3:], error))
    return found


def legal_runs(author: Author, programs: int, found: Found, until: float = float("inf")) -> Iterator[Run]:
    """Draws so many programs, and one run or two of each; yields the legal runs, and notes in `found` what was drawn."""
    config, rng = author.config, author.rng
    while found.programs < programs and monotonic() < until:
        program = drawn(author)
        found.programs += 1
        legal = False
        for _ in range(rng.choice((1, 1, 2))):
            how = how_started(config, rng)
            if takes_long(config, program, how):
                break
            if broken := _broken(config, program, how):
                found.rules.update(set(broken))
                break
            legal = True
            found.runs += 1
            yield program, how
        if legal:
            found.legal += 1
            found.fields.update(classes(program, isa_of(config)))


def campaign(seconds: float, seed: int, configurations: int | None = None, programs: int = 12,
             open_machines: Callable[[Config], Machines] = Machines) -> Found:
    """Configurations one after another, until the time is over or so many have been simulated."""
    found, end, number = Found(), monotonic() + seconds, 0
    while monotonic() < end and number != configurations:
        found.add(simulate(seed, number, programs, open_machines, end))
        number += 1
    return found


def difference(both: Machines, program: list[Instruction] | None = None, how: dict[str, int] | None = None,
               ) -> Exception | None:
    """Runs a program on both machines, or without one compares all that they hold. What differs; None if nothing does."""
    try:
        if program is None:
            both.compare()
        else:
            both.run(program, **how)
            both.compare_memory()
    except DIFFERS as error:
        return error
    return None


def how_started(config, rng):
    """How a run is started."""
    return {"position": rng.choice((0, 0, 1, 1, config.block - 1, config.block, 17, 65534)),
            "token": rng.choice((0, 1, 5, 65535, rng.randrange(1 << 16))), "count": rng.choice((0, 1, 1, 2, 3))}


def takes_long(config, program, how):
    """Whether a run takes more than `LONGEST` cycles, or issues: the RTL would simulate little else."""
    try:
        issues = list(islice(trace(config, program, **how), LONGEST_ISSUES))
    except ProgramError:
        return False
    sizes = [prod(issue.operands.get(name, 1) for name in ("inner", "middle", "outer", "interval")) for issue in issues]
    return len(issues) == LONGEST_ISSUES or issues[-1].cycle > LONGEST or max(sizes) > LONGEST


LONGEST, LONGEST_ISSUES = 20_000, 500
"""The longest runs of a campaign, in cycles and issues."""


def _broken(config, program, how):
    """The kinds of rules that a run breaks."""
    try:
        return [kind(violation.what) for violation in violations(config, program, **how)]
    except ProgramError as error:
        return [kind(str(error).partition(": ")[2])]


def _pasted(config, data, runs, error):
    """Text from which a failure can be repeated: the configuration, and the runs of the simulation."""
    lines = [f"{type(error).__name__}: {error}", f"CONFIG = {config!r}", f"DATA = {data}"]
    for program, run in runs:
        lines += [f"RUN = {run}", "PROGRAM = [isa_of(CONFIG).parse(line) for line in ("]
        lines += [f"    {str(instruction)!r}," for instruction in program] + [")]"]
    return "\n".join(lines)
