"""Plants mutations and looks for them with the tests: `python -m tests.mutants`, which `make mutants` calls.

What became of each mutation is kept in `build/mutants/`: the same command goes on where it was stopped. At its end
it writes docs/mutants.md from all that was kept. `--only` names places, such as vxm or vxm:square.
"""

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from time import monotonic

from . import hardware

FOLDER = Path("build/mutants")


def work(place: tuple[str, str], count: int, seed: int, end: float) -> None:
    """Looks for the mutations of a place, until the clock reaches `end`, and keeps what became of them."""
    folder = FOLDER / "-".join(place)
    kept = folder / f"results-{seed}.jsonl"
    skip = {json.loads(line)["number"] for line in kept.read_text().splitlines()} if kept.exists() else set()
    if len(skip) >= count:
        return
    for result in hardware.Place(*place, folder, count, seed).results(skip):
        with kept.open("a") as file:
            file.write(json.dumps(asdict(result)) + "\n")
        print(f"{result.place} {result.number} {result.part}: {result.found_by or 'ALIVE'}, {result.seconds} s", flush=True)
        if monotonic() > end:
            return


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", default=[], metavar="PLACE", help="a slice, or SLICE:CONFIGURATION")
    parser.add_argument("--count", type=int, default=40, help="mutations of each place (default 40)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="when to stop")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="places at a time")
    options = parser.parse_args(arguments)
    places = [place for place in hardware.PLACES if not options.only or {place[0], ":".join(place)} & set(options.only)]
    end = monotonic() + options.seconds
    with ProcessPoolExecutor(options.jobs) as pool:
        for done in [pool.submit(work, place, options.count, options.seed, end) for place in places]:
            done.result()
    return 0


if __name__ == "__main__":
    sys.exit(main())
