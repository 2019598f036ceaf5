"""Runs all proofs: `python -m tests.formal [NAME ...]`, which `make proof` calls.

A proof's NAME is KIND:PRESET, with a kind of `PROOFS`; without names all run, two at a time. Exit status
1 if one fails; its waveform is then kept in `build/proof/`.
"""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from time import monotonic

from marey.hdl.spec.config import PRESETS

from . import beats, link, promises, recovery, sequencer, structure

FOLDER = Path("build/proof")


def _structure(config, folder):
    return "; ".join(structure.faults(config, folder)) or None


PROOFS = {"sequencer": sequencer.prove, "link": link.prove, "recovery": recovery.prove, "beats": beats.prove,
          "scalars": promises.scalars, "drain": promises.drain, "structure": _structure}
"""By kind: the function that proves it for a configuration, with files in a folder, and returns what failed."""


def run(name: str) -> str | None:
    """Runs one proof, prints a line, and returns what failed."""
    kind, _, preset = name.partition(":")
    folder = FOLDER / name.replace(":", "_")
    folder.mkdir(parents=True, exist_ok=True)
    start = monotonic()
    failed = PROOFS[kind](PRESETS[preset], folder)
    print(f"{name:28} {monotonic() - start:6.1f} s  {failed or 'proved'}", flush=True)
    return failed and str(failed)


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 if all proofs hold."""
    names = [f"{kind}:{preset}" for kind in PROOFS for preset in PRESETS]
    parser = argparse.ArgumentParser(prog="python -m tests.formal", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="kind:preset, by default all")
    parser.add_argument("--jobs", type=int, default=2, help="proofs at a time (default 2)")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(names):
        parser.error(f"no proof {min(unknown)!r}: there are {', '.join(names)}")
    with ProcessPoolExecutor(options.jobs) as pool:
        return int(any(pool.map(run, options.names or names)))


if __name__ == "__main__":
    sys.exit(main())
