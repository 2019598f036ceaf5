"""Draws configurations, programs, data and runs, and compares the emulator with the RTL on the legal ones.

    python -m tests.programs --seconds N [--seed S]

A configuration is simulated for some programs, one after another, so that each program meets what
the runs before it have left. Of a legal program the cycles, the tokens and MEM are compared after
each run, and at the end of a configuration its scalar registers and W-RAM. The share of legal
programs and the rules that refused the others are printed; so is a program for which the two
differ, as text that can be pasted into a test.
"""

import argparse
import random
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic

from marey.hdl.spec.config import Config, ConfigError
from marey.hdl.spec.isa import Address, EncodingError, Instruction, Op, Reduce, Sfu, To, isa_of, members
from marey.hdl.timing import ProgramError, mxm_interval, violations
from marey.sim.simulation import BackendError
from marey.sw.compiler.distances import stream_offset
from marey.sw.compiler.emit import lay_out
from marey.sw.runtime.link import LinkError
from tests.machines import Machines

PROGRAMS = 12
"""Programs for each configuration."""
FEW, SOME = (1, 1, 1, 2, 2, 3, 4), (0, 0, 1, 1, 2, 3, 5, 7)


@dataclass
class Found:
    """What a campaign has seen: programs, those that were legal, rules by how often they refused one, failures."""

    programs: int = 0
    legal: int = 0
    rules: Counter = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def report(self) -> str:
        """Some lines for people."""
        share = 100 * self.legal / max(self.programs, 1)
        lines = [f"{self.programs} programs, {self.legal} legal ({share:.0f} %), {len(self.failures)} failures"]
        return "\n".join(lines + [f"{count:6} {rule}" for rule, count in self.rules.most_common()] + self.failures)


def any_configuration(rng: random.Random) -> Config:
    """A small configuration that validates."""
    while True:
        rows, cols = rng.choice((2, 4, 4, 8)), rng.choice((2, 4, 4, 8))
        compact = int(rng.random() < 0.35)
        try:
            return Config(
                name="drawn", rows=rows, cols=cols, lanes=rng.choice((1, 2, 4)), weight_bits=rng.choice((4, 8)),
                wram_depth=rng.choice((8, 11, 16)), wram_ports=rng.choice((1, 2, 2)),
                wram_latency=1 if compact else rng.choice((1, 2)), mem_depth=rng.choice((8, 12, 16)), program_depth=32,
                scalars=rng.choice((8, 16)), compact=compact, gelu=rng.choice((0, 1)),
                multiply_bits=rng.choice((16, 8, 1)), crc_bits=32, link_timeout=32)
        except ConfigError:
            continue


class Author:
    """Draws programs for a configuration."""

    def __init__(self, config: Config, rng: random.Random):
        self.config, self.rng, self.isa = config, rng, isa_of(config)
        self.registers: list[int] = []

    def program(self) -> list[Instruction]:
        """A program of a few instructions, which may be legal."""
        self.registers, body = [], []
        if self.rng.random() < 0.8:
            body.append(self.isa.make(Op.PERIOD, **self._period()))
        for _ in range(self.rng.randint(1, 5)):
            body += self._part()
        if self.rng.random() < 0.3:
            at = self.rng.randrange(len(body))
            body.append(self.isa.make(Op.LOOP, count=self.rng.randint(1, 3), target=at))
        if self.rng.random() < 0.3:
            body.append(self.isa.make(Op.TOKEN, self.rng.choice(SOME), target=self.rng.randrange(len(body))))
        return [*body, self.isa.make(Op.NOP, 200), self.isa.make(Op.HALT)]

    def _period(self):
        value = self.rng.choice((1, 5, 12, 20, 40, 60))
        limit = (1 << self.isa.count_bits) - 1
        if self.config.profile.counts_in_registers:
            return {"value": min(value, limit)}
        return {"value": min(value, limit >> 1), "times": self.rng.choice((0, 0, 1, 3)), "least": self.rng.choice((0, 0, 9))}

    def _part(self):
        """One instruction, or a product with the VXM that takes its results; then a pause."""
        kind = self.rng.choice((Op.VXM, Op.VXM, Op.VXM, Op.MXM, Op.MXM, Op.SFU, Op.SFU, Op.SET, Op.INDEX, Op.NOP))
        pause = self.rng.choice((0, 3, 10, 40, 90, 90, 90))
        if kind is Op.MXM:
            return self._product(pause)
        operands = {Op.VXM: self._vxm, Op.SFU: self._sfu, Op.SET: self._set, Op.INDEX: self._index, Op.NOP: self._nop}[kind]()
        return [self.isa.make(kind, pause if kind in (Op.VXM, Op.SFU, Op.NOP) else 0, **operands)]

    def _number(self, bits, signed=False):
        """A number at an edge of its width, a small one, or any."""
        top = 1 << bits - signed
        low = -top if signed else 0
        return max(low, min(top - 1, self.rng.choice((low, top - 1, 0, 1, 2, 3, self.rng.randrange(low, top)))))

    def _address(self, most):
        base = self.rng.choice([0, 0, 0, *self.registers])
        return Address(self.rng.randrange(most if not base else max(1, most // 2)), base)

    def _set(self):
        register = self.rng.randint(1, 3)
        self.registers.append(register)
        return {"register": register, "value": self.rng.choice(SOME)}

    def _index(self):
        return self._set() | {"source": self.rng.choice(members(self.isa.operands[Op.INDEX]["source"].shape)),
                              "right": self.rng.choice((0, 1, 2, 3)), "bits": self.rng.choice((0, 1, 2, 3)),
                              "times": self.rng.choice(SOME)}

    def _nop(self):
        if self.config.profile.counts_in_registers:
            return {"register": self.rng.choice([0, *self.registers])}
        return {"turns": self.rng.choice(SOME), "blocks": self.rng.choice((0, 0, 1, 2))}

    def _sfu(self):
        half, function = self.config.scalars // 2, self.rng.choice(list(Sfu))
        first = half if function is Sfu.MULTIPLY else 0
        count = self.rng.choice((1, 1, 1, 2))
        reads = [first + self.rng.randrange(half - count + 1) for _ in range(2)]
        return {"function": function, "a": reads[0], "b": reads[1] if function is Sfu.MULTIPLY else 0,
                "into": half + self.rng.randrange(half), "count": count, "epsilon": self._number(16)}

    def _vxm(self):
        config, rng = self.config, self.rng
        reduce, to = rng.choice((Reduce.NONE, *Reduce)), rng.choice((To.MEM, To.MEM, *To))
        scalar_reduced = reduce not in (Reduce.NONE, Reduce.ARGMAX)
        granules = config.granules
        dst = granules if to in (To.MEM, To.NOWHERE) else config.wram_depth
        outer = rng.choice(FEW)
        operands = {
            "function": rng.choice(members(self.isa.operands[Op.VXM]["function"].shape)), "x": self._address(granules),
            "y": self._address(granules), "dst": self._address(dst), "inner": rng.choice(FEW), "outer": outer,
            "middle": rng.choice(FEW), "interval": rng.choice(FEW), "shift": self._number(7, signed=True), "to": to,
            "reduce": reduce, "into": rng.randint(1, max(1, config.scalars // 2 - outer)) if scalar_reduced else 0,
            "scalar": rng.randrange(config.scalars), "x_hop": rng.choice(SOME), "y_hop": rng.choice(SOME),
            "dst_hop": rng.choice(SOME),
        }
        names = ("by_vector", "plus", "pair", "paced", "x_step", "y_step", "narrow", "mask", "scalar_hop", "bare", "engine",
                 "high")
        operands |= {name: int(rng.random() < 0.3) for name in names if name in dict(self.isa.operands[Op.VXM])}
        if operands["pair"] and rng.random() < 0.8:
            operands |= {"function": members(self.isa.operands[Op.VXM]["function"].shape)[0], "inner": 2 * rng.randint(1, 2)}
        return operands

    def _product(self, pause):
        """An MXM and the VXM that takes its results in time."""
        config, rng = self.config, self.rng
        inner, middle, outer = (rng.choice(FEW) for _ in range(3))
        wide = {"wide": rng.choice((0, 1))} if config.weight_bits == 4 else {}
        if any(wide.values()):
            inner *= 2
        mxm = self.isa.make(Op.MXM, act=self._address(config.mem_depth), wgt=self._address(config.wram_depth), inner=inner,
                            middle=middle, outer=outer, wgt_step=rng.choice(SOME), wgt_hop=rng.choice(SOME),
                            act_hop=rng.choice(SOME), wrap=rng.choice(FEW), **wide)
        turn = mxm_interval(config, {"inner": inner, "fetch": 0})
        takes = self._vxm() | {"function": members(self.isa.operands[Op.VXM]["function"].shape)[0], "stream": 1, "pair": 0,
                               "paced": 0, "inner": config.beats_per_result, "middle": middle, "outer": outer, "interval": turn}
        placed = [(0, mxm), (stream_offset(config, inner), self.isa.make(Op.VXM, **takes))]
        placed.append((placed[1][0] + outer * middle * turn + pause + 10, self.isa.make(Op.NOP)))
        return lay_out(config, placed)


def campaign(seconds: float, seed: int, configurations: int | None = None, programs: int = PROGRAMS) -> Found:
    """Draws until the time is over, or so many configurations have been simulated."""
    rng, found, end, number = random.Random(seed), Found(), monotonic() + seconds, 0
    while monotonic() < end and number != configurations:
        number += 1
        config = any_configuration(rng)
        _simulate(config, rng, found, end, programs)
    return found


def _simulate(config, rng, found, end, programs):
    """Some programs on one configuration."""
    author, both, runs = Author(config, rng), None, []
    while len(runs) < programs and monotonic() < end:
        try:
            program = author.program()
        except (EncodingError, ValueError):
            continue
        run = {"position": rng.choice((0, 0, 1, 1, config.block - 1, config.block, 17, 65534)),
               "token": rng.choice((0, 1, 5, 65535)), "count": rng.choice((0, 1, 1, 2, 3))}
        found.programs += 1
        try:
            broken = violations(config, program, **run)
        except ProgramError as error:
            found.rules[_kind(str(error).partition(": ")[2])] += 1
            continue
        if broken:
            found.rules.update({_kind(violation.what) for violation in broken})
            continue
        found.legal += 1
        both = both or Machines(config)
        runs.append((program, run))
        try:
            if len(runs) == 1:
                both.fill(rng.randrange(1 << 16))
            both.run(program, **run)
            both.compare_memory()
        except (AssertionError, BackendError, LinkError, ProgramError) as error:
            found.failures.append(_pasted(config, runs, error))
            return
    if both:
        try:
            both.compare()
        except (AssertionError, BackendError, LinkError) as error:
            found.failures.append(_pasted(config, runs, error))


def _kind(what):
    """A rule's message without its numbers."""
    return re.sub(r"-?\d+", "n", what)


def _pasted(config, runs, error):
    """Text from which a failure can be repeated: the configuration, and all runs of the simulation."""
    lines = [f"{type(error).__name__}: {error}", f"CONFIG = {config!r}"]
    for program, run in runs:
        lines += [f"RUN = {run}", "PROGRAM = [isa_of(CONFIG).parse(line) for line in ("]
        lines += [f"    {str(instruction)!r}," for instruction in program] + [")]"]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Exit status 1 if there was a failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.programs", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="how long to draw")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    found = campaign(options.seconds, options.seed)
    print(found.report())
    return int(bool(found.failures))


if __name__ == "__main__":
    sys.exit(main())
