"""Draws damage to the words between the driver and a simulated tile, and compares the results.

    python -m tests.damage --frames N [--seed S]

The driver loads a program and data, writes and reads memories, runs the program for several tokens
and stops it, over a line that flips bits, drops, doubles, swaps, cuts and inserts, in both
directions. Each operation must give the right result or one LinkError. After a LinkError the link
is reset, and what a failed write may have left is loaded again. A frame is one request or one
answer.
"""

import argparse
import random
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import cache, partial

import numpy as np

from marey.hdl.spec.config import Config
from marey.hdl.spec.isa import Address, Reduce, Source
from marey.hdl.spec.packing import pack_mem, pack_program, unpack_mem
from marey.hdl.spec.protocol import Space, entry_bits, parts
from marey.hdl.timing import check
from marey.sim import verilator
from marey.sim.transport import Transport
from marey.sw.runtime.link import Link, LinkError, Refusal
from tests.configs import CONFIGS, codes, op
from tests.line import Line

VOCABULARY = 16
"""Tokens of the program's model: token t is followed by the largest of row t of a table in MEM."""
PAUSE = 40
PATIENCE = 2048
"""Clock cycles without a word after which a request counts as unanswered: more than a token or a
write takes."""
MOST_CYCLES = 1 << 21
"""Clock cycles after which an operation counts as one that hangs."""


@dataclass
class Found:
    """What a campaign has seen: frames, operations by how they ended, failures."""

    frames: int = 0
    damaged: int = 0
    kinds: Counter = field(default_factory=Counter)
    ends: Counter = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def report(self) -> str:
        """Some lines for people."""
        lines = [f"{self.frames} frames, {self.damaged} damaged, {len(self.failures)} failures"]
        for counts in (self.kinds, self.ends):
            lines.append(", ".join(f"{what} {count}" for what, count in sorted(counts.items())))
        return "\n".join(lines + self.failures)


@cache
def program(config: Config) -> list:
    """A program that makes token after token: each is the index of the largest value in the row of
    a table that the last one names."""
    row = VOCABULARY // config.lanes
    return [op(config, "INDEX", PAUSE, register=1, source=Source.TOKEN, times=row, bits=4),
            op(config, "VXM", PAUSE, x=Address(0, base=1), x_step=1, inner=row, reduce=Reduce.ARGMAX),
            op(config, "TOKEN", PAUSE, target=0), op(config, "HALT")]


class Host:
    """A driver at one end of a `Line`, which knows what the tile at the other end should hold and answer."""

    def __init__(self, config: Config, rng: random.Random, line: Line):
        self._config, self._rng, self._line, self._link = config, rng, line, None
        self._granule, self._weight = (parts(entry_bits(config, space)) for space in (Space.MEM, Space.WRAM))
        self._code = pack_program(config, codes(config, program(config)))
        self._table, self._loaded = None, False

    def step(self) -> str:
        """Does one operation; returns its name. LinkError if the line was too bad; AssertionError
        for a wrong result."""
        if self._link is None:
            self._link = Link(self._line, self._config)
            return "connect"
        if not self._loaded:
            self._load()
            return "load"
        work = self._rng.choice((self._run, self._run, self._run, self._run, self._stop, self._read,
                                 self._write, self._registers))
        work()
        return work.__name__[1:]

    def recover(self) -> None:
        """Begins anew after a LinkError, which may raise another."""
        if self._link is not None:
            self._link.reset()

    def _load(self):
        """Writes a table of another order of the tokens, and the program."""
        rng = self._rng
        values = [[rng.randrange(-1000, 1000) for _ in range(VOCABULARY)] for _ in range(VOCABULARY)]
        self._following = [rng.randrange(VOCABULARY) for _ in range(VOCABULARY)]
        for row, largest in zip(values, self._following, strict=True):
            row[largest] = 1000
        self._table = np.array(values, np.int16).ravel()
        self._link.write(Space.MEM, 0, pack_mem(self._config, self._table))
        self._link.write(Space.PROGRAM, 0, self._code)
        self._loaded = True

    def _run(self):
        """Tokens in one run: the right ones, shown in order, and the predicted cycles."""
        token, count, shown = self._rng.randrange(VOCABULARY), self._rng.choice((1, 2, 8, 8, 8, 20)), []
        expected = [token]
        for _ in range(count):
            expected.append(self._following[expected[-1]])
        self._link.start(0, token=token, count=count)
        for _ in range(self._rng.choice((0, 0, 1, 2))):
            self._disturb()
        cycles, faults, tokens = self._link.wait(shown.append)
        assert tokens == expected[1:], f"tokens {tokens}, not {expected[1:]}"
        assert shown == tokens, f"{shown} were shown, and {tokens} returned"
        assert (cycles, faults) == (check(self._config, program(self._config), count=count), 0)

    def _disturb(self):
        """Asks for what may be had, and for what may not, while the program runs."""
        words = np.array([self._rng.randrange(1 << 32) for _ in range(self._weight)], np.uint32)
        space = self._rng.choice((Space.REGISTER, Space.TOKENS, Space.WRAM, Space.MEM))
        if space is Space.WRAM:
            self._link.write(space, self._rng.randrange(16) * self._weight, words)
        elif space is not Space.MEM:
            self._link.read(space, 0, self._rng.randint(1, 6))
        else:
            with suppress(Refusal):
                self._link.read(space, 0, 1)

    def _stop(self):
        """A run that is stopped: the next one is not disturbed by it."""
        self._link.start(0, token=self._rng.randrange(VOCABULARY), count=20)
        self._link.reset()

    def _read(self):
        first = self._rng.randrange(len(self._table) // self._config.lanes)
        count = self._rng.randint(1, len(self._table) // self._config.lanes - first)
        words = self._link.read(Space.MEM, first * self._granule, count * self._granule)
        values = self._table[first * self._config.lanes:][:count * self._config.lanes]
        assert np.array_equal(unpack_mem(self._config, words), values), "MEM is not what was written"

    def _write(self):
        """Writes the table again, with other tokens that follow; all of it, or in parts."""
        self._loaded = False
        self._load()

    def _registers(self):
        assert self._link.registers()


def campaign(frames: int, seed: int, configs: list[Config] = CONFIGS[:1],
             open_tile: Callable[[Config], Transport] = verilator.open_tile) -> Found:
    """Draws until so many frames have passed, on each configuration the same share."""
    found = Found()
    for config in configs:
        rng = random.Random(f"{seed} {config.name}")
        with closing(open_tile(config)) as tile:
            tile.patience = PATIENCE
            line = Line(tile, rng)
            _simulate(Host(config, rng, line), line, tile, rng, found, frames // len(configs))
    return found


def _simulate(host, line, tile, rng, found, frames):
    while line.frames < frames and len(found.failures) < 10:
        line.rate = rng.choice((0, 0.02, 0.1, 0.3))
        begun, at = tile.cycles or 0, line.frames
        try:
            found.ends[host.step()] += 1
        except LinkError as error:
            found.ends["LinkError"] += 1
            if "\n" in str(error):
                found.failures.append(f"more than one line: {error!r}")
            _recover(host, line)
        except AssertionError as error:
            found.failures.append(f"{line.frames} frames: {error}")
        if tile.cycles and tile.cycles - begun > MOST_CYCLES:
            found.failures.append(f"{at} frames: {tile.cycles - begun} cycles")
    found.frames += line.frames
    found.damaged += line.damaged
    found.kinds += line.kinds


def _recover(host, line):
    """Resets the link, over the line as it is or a good one."""
    try:
        host.recover()
    except LinkError:
        line.rate = 0
        host.recover()


def main(arguments: list[str] | None = None) -> int:
    """Exit status 1 if there was a failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.damage", description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=10_000, help="requests and answers that pass")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    found = campaign(options.frames, options.seed, [CONFIGS[0], CONFIGS[5]],
                     partial(verilator.open_tile, checked=True))
    print(found.report())
    return int(bool(found.failures))


if __name__ == "__main__":
    sys.exit(main())
