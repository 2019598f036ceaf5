"""Campaigns of drawn programs on Verilator.

    python -m tests.programs --seconds N [--seed S] [--configurations N] [--programs N] [--workers N]

What each configuration gave is kept in `build/programs/SEED/`: the same command goes on where it was stopped,
and at its end prints the sum of all. Exit status 1 if there was a failure. With `--workers` configurations
run in local processes, by Dask: pip install 'marey[campaign]'.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

from marey.hdl.spec.config import Config
from marey.sim.verilator import open_tile
from tests.machines import Machines

from .campaign import simulate
from .found import Found


def open_machines(config: Config) -> Machines:
    """Emulator and Verilator, with assertions tested."""
    return Machines(config, open_tile(config, checked=True))


def one(folder: str, seed: int, number: int, programs: int) -> dict:
    """Simulates configuration `number` of a campaign, keeps what it gave, and returns that."""
    # A simulator is not needed again; the runtime that all have in common stays in the cache.
    cache = Path(folder, "cache", str(os.getpid()))
    os.environ["MAREY_CACHE"] = str(cache.absolute())
    facts = vars(simulate(seed, number, programs, open_machines))
    for library in cache.glob("*.so"):
        library.unlink()
    path = Path(folder, f"{number}.json")
    path.with_suffix(".new").write_text(json.dumps(facts))
    path.with_suffix(".new").replace(path)
    return facts


def done(folder: Path) -> dict[int, Found]:
    """What earlier calls have kept, by the number of the configuration."""
    return {int(path.stem): Found.of(json.loads(path.read_text())) for path in folder.glob("[0-9]*.json")}


def in_turn(folder: Path, seed: int, numbers: list[int], programs: int, end: float) -> None:
    """Simulates configurations one after another, until the clock reaches `end`."""
    for number in numbers:
        if monotonic() > end:
            return
        _say(number, one(str(folder), seed, number, programs))


def in_processes(folder: Path, seed: int, numbers: list[int], programs: int, end: float, workers: int) -> None:
    """The same in local processes."""
    from distributed import Client, LocalCluster, as_completed

    rest: Iterator[int] = iter(numbers)
    with LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        def submit():
            number = next(rest, None) if monotonic() < end else None
            return [client.submit(lambda: (number, one(str(folder), seed, number, programs)), pure=False)] if (
                number is not None) else []

        running = as_completed([future for _ in range(workers) for future in submit()])
        for future in running:
            _say(*future.result())
            for following in submit():
                running.add(following)


def _say(number, facts):
    print(f"configuration {number}: {facts['programs']} programs, {facts['legal']} legal, {len(facts['failures'])} failures",
          file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Exit status 1 if there was a failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.programs", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600, help="how long to draw; the last configuration is ended")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--configurations", type=int, default=200, help="how many at most")
    parser.add_argument("--programs", type=int, default=1000, help="drawn for each configuration, legal or not")
    parser.add_argument("--workers", type=int, default=0, help="local processes; 0: this one alone")
    options = parser.parse_args(arguments)
    folder = Path("build/programs", str(options.seed))
    folder.mkdir(parents=True, exist_ok=True)
    numbers = sorted(set(range(options.configurations)) - set(done(folder)))
    end, facts = monotonic() + options.seconds, (folder, options.seed, numbers, options.programs)
    if options.workers:
        in_processes(*facts, end, options.workers)
    else:
        in_turn(*facts, end)
    found = Found()
    for part in done(folder).values():
        found.add(part)
    print(found.report())
    return int(bool(found.failures))


if __name__ == "__main__":
    sys.exit(main())
