"""Plants mutations and looks for them with the tests: `python -m tests.mutants`, which `make mutants` calls.

What became of each mutation is kept in `build/mutants/`: the same command goes on where it was stopped. At its end
it writes docs/mutants.md from all that was kept.
"""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from time import monotonic

from . import places, report
from .result import FUZZ_PROGRAMS

FOLDER = Path("build/mutants")


def main(arguments: list[str] | None = None) -> int:
    """Exit status 1 if a place cannot be looked at, because a check fails without a mutation."""
    names = places.names()
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", default=[], metavar="PLACE",
                        help=f"a place, or all of a slice; may be given again. Places: {', '.join(names)}")
    parser.add_argument("--count", type=int, default=24, help="mutations of each place (default 24)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="when to stop; the last mutation is ended")
    parser.add_argument("--seed", type=int, default=1, help="of the samples (default 1)")
    parser.add_argument("--jobs", type=int, default=1, help="places at a time (default 1)")
    parser.add_argument("--again", action="store_true", help="look again for those that were not found")
    options = parser.parse_args(arguments)
    if unknown := set(options.only) - set(names) - {name.partition(":")[0] for name in names}:
        parser.error(f"no place {min(unknown)!r}: there are {', '.join(names)}")
    chosen = [name for name in names if not options.only or {name, name.partition(":")[0]} & set(options.only)]
    end = monotonic() + options.seconds
    # A process for each place: the tests of one must not have imported what another mutates.
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        facts = options.count, options.seed, options.again, end
        running = {name: pool.submit(places.work, FOLDER, name, *facts) for name in chosen}
        failed = {name: error for name, done in running.items() if (error := done.exception())}
    for name, error in failed.items():
        print(f"{name}: {error}", file=sys.stderr)
    report.write(FOLDER, options.seed, names, FUZZ_PROGRAMS)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
