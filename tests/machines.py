"""A tile in Amaranth's simulator and an emulated one, side by side: the same programs, and all they leave compared."""

from dataclasses import replace
from functools import cache

import numpy as np

from marey.hdl.spec.config import Config
from marey.hdl.spec.isa import Instruction, Op, To, isa_of
from marey.hdl.spec.packing import pack_mem, pack_program, pack_wram
from marey.hdl.spec.protocol import Space, entry_bits, parts
from marey.hdl.timing import check, next_issue, violations, vxm_beat
from marey.hdl.vxm import Vxm
from marey.sim.endpoint import Endpoint
from marey.sim.pysim import PysimTransport
from marey.sim.sdram import simulated
from marey.sim.simulation import Simulation, quiet_cycles
from marey.sw.compiler.emit import lay_out
from marey.sw.runtime.link import Link

PATIENCE = 1 << 15
"""Clock cycles without an answer after which a run of the RTL counts as one that hangs."""


class Machines:
    """Two tiles of a configuration: RTL and emulator. Both keep what earlier runs have left.

    `rtl` and `model` are the links to them.

    Parameters: `config`; `transport`, to the RTL, by default in Amaranth's simulator.
    """

    def __init__(self, config: Config, transport: Simulation | None = None):
        self.config = config
        self._transport = transport or PysimTransport(simulated(config), patience=PATIENCE, quiet=quiet_cycles(config))
        self.rtl, self.model = Link(self._transport, config), Link(Endpoint(config), config)

    def close(self) -> None:
        """Ends the simulation."""
        self._transport.close()

    def fill(self, seed: int) -> None:
        """Writes the same random values into MEM and W-RAM of both."""
        config, rng = self.config, np.random.default_rng(seed)
        limit = 1 << config.weight_bits - 1
        weights = rng.integers(-limit, limit, (config.wram_depth, config.cols, config.rows)).astype(np.int8)
        values = rng.integers(-32768, 32768, config.mem_depth * config.rows)
        # Large and small values in turns.
        values = (values >> rng.integers(0, 16, values.shape)).astype(np.int16)
        for link in (self.rtl, self.model):
            link.write(Space.WRAM, 0, pack_wram(config, weights))
            link.write(Space.MEM, 0, pack_mem(config, values))

    def load(self, program: list[Instruction]) -> None:
        """Writes a program into both."""
        codes = [isa_of(self.config).encode(instruction) for instruction in program]
        for link in (self.rtl, self.model):
            link.write(Space.PROGRAM, 0, pack_program(self.config, codes))

    def run(self, program: list[Instruction], entry: int = 0, **how: int) -> tuple[int, list[int]]:
        """Runs a program on both; returns its cycles and tokens. AssertionError if they differ, or there is a fault."""
        self.load(program)
        found = []
        for link in (self.model, self.rtl):
            link.start(entry, **how)
            found.append(link.wait())
        assert found[0] == found[1], f"emulator {found[0]}, RTL {found[1]}: cycles, faults, tokens"
        cycles, faults, tokens = found[0]
        assert faults == 0
        return cycles, tokens

    def compare(self) -> None:
        """Compares all that MEM, the scalar registers and W-RAM hold. It leaves other contents of MEM."""
        self.compare_memory()
        self.compare_scalars()
        words = _words(self.config)
        for column in range(self.config.cols if words else 0):
            self.run(words, token=column)
            self._same(f"W-RAM column {column}", self.memory())

    def compare_memory(self) -> None:
        """Compares what the host can read of MEM."""
        self._same("MEM", self.memory())

    def compare_scalars(self) -> None:
        """Compares the scalar registers, if the MEM that the VXM reads as x has room for them. It leaves other contents of
        MEM."""
        if self.config.windows["x"].depth < self.config.scalars:
            return
        for factor, shift, bare in ((1, 0, 1), (1 << 14, 0, 0), (1 << 14, 24, 0), (1 << 14, 44, 0)):
            self._write_factor(factor)
            self.run(_scalars(self.config, shift, bare))
            self._same("scalars" if bare else f"scalars' exponents beyond {-shift}", self.memory(self.config.scalars))

    def _write_factor(self, factor):
        """Fills the granule of MEM that `_scalars` multiplies by."""
        words = pack_mem(self.config, np.full(self.config.lanes, factor, np.int16))
        for link in (self.rtl, self.model):
            link.write(Space.MEM, _factor(self.config) * parts(entry_bits(self.config, Space.MEM)), words)

    def memory(self, granules: int | None = None) -> list[np.ndarray]:
        """The first granules of MEM that the host can read, by default all, on the model and on the RTL: link words."""
        window = self.config.windows["x"].depth
        count = min(granules or window, window) * parts(entry_bits(self.config, Space.MEM))
        return [link.read(Space.MEM, 0, count) for link in (self.model, self.rtl)]

    @staticmethod
    def _same(what, memories):
        wrong = np.flatnonzero(memories[0] != memories[1])
        assert not len(wrong), (f"{what}: {len(wrong)} link words differ, the first is {wrong[0]}: emulator "
                                f"{memories[0][wrong[0]]:#010x}, RTL {memories[1][wrong[0]]:#010x}")


def small(config: Config) -> Config:
    """A configuration of the same kind with small memories, which a simulation fills and reads in little time."""
    windows = dict.fromkeys(("act_first", "act_depth", "x_depth", "y_depth"), 0)
    return replace(config, name=f"small_{config.name}", mem_depth=16, wram_depth=8, program_depth=64, scalars=16, **windows)


@cache
def machines(config: Config) -> Machines:
    """Two tiles of a configuration, which tests share, since a simulation takes a second to open."""
    return Machines(config)


def _factor(config):
    """The last granule that the VXM reads as x, which may be the last that it writes."""
    return config.windows["x"].depth - 1


@cache
def _scalars(config, shift, bare):
    """Writes each scalar register times the factor, shifted, to MEM: register n to granule n."""
    isa, half = isa_of(config), config.scalars // 2
    program, at, group = [], 0, min(16, half)
    for first in (0, half):
        for start in range(first, first + half, group):
            vxm = isa.make(Op.VXM, x=_factor(config), outer=group, scalar=start, scalar_hop=1, dst=start, dst_hop=1, to=To.MEM,
                           shift=shift, bare=bare)
            program.append((at, vxm))
            at += group + 30
    program.append((at, isa.make(Op.HALT)))
    program = lay_out(config, program)
    check(config, program)
    return program


@cache
def _words(config):
    """Writes all words of the W-RAM column that the token names to MEM, from granule 0 on; empty if MEM is too small."""
    isa, size = isa_of(config), config.granules_per_word
    if config.wram_depth * size > config.granules or config.wram_depth >= 1 << isa.count_bits:
        return []
    mxm = isa.make(Op.MXM, fetch=1, outer=config.wram_depth, wgt_hop=1, wrap=config.wram_depth, paced=1)
    vxm = isa.make(Op.VXM, stream=1, inner=size, middle=config.wram_depth, interval=size, to=To.MEM, shift=0)
    first = 20 + next_issue(config, Op.MXM)
    for offset in range(60):
        end = offset + vxm_beat(config) + size * config.wram_depth + Vxm.ending_cycles(config)
        timed = [(0, isa.make(Op.PERIOD, value=size)), (20, mxm), (first + offset, vxm), (first + end, isa.make(Op.HALT))]
        program = lay_out(config, timed)
        if not violations(config, program):
            return program
    return []
