"""The emulator: executes programs in numpy, with the tile's results and the tile's timing.

Legal programs (see `marey.hdl.rules`) touch MEM in the order of their instructions, so executing
each instruction whole, in order, gives what the overlapping hardware gives.
"""

from collections import Counter, deque
from dataclasses import dataclass

import numpy as np

from ..hdl.config import Config
from ..hdl.integer import round_shift, saturate
from ..hdl.isa import Isa, Op
from ..hdl.packing import pack_mem, pack_program, unpack_mem, unpack_program, unpack_wram
from ..hdl.protocol import Space, entry_bits, parts
from ..hdl.rules import violations
from ..hdl.timing import Issue, mxm_beats, run_cycles, trace, uses, vxm_granules


@dataclass(frozen=True)
class Run:
    """What is known of a run before it: its issues, cycles, broken rules, and busy cycles by unit."""

    issues: list[Issue]
    cycles: int
    faults: int
    busy: Counter


class EmulatedTile:
    """The memories of a tile and the execution of programs on them; `Endpoint` gives it a link.

    Attributes: `wram` int8 [cols, wram_depth, rows]; `mem` int16 [mem_depth * rows]; `program`, encoded
    instructions; `cycles` and `schedule_faults` of the last run; `busy`, cycles in use by unit (see
    `marey.hdl.timing.uses`) of the last run.
    """

    def __init__(self, config: Config):
        self.config = config
        self.wram = np.zeros((config.cols, config.wram_depth, config.rows), np.int8)
        self.mem = np.zeros(config.mem_depth * config.rows, np.int16)
        self.program = [0] * config.program_depth
        self.reset()
        self._runs: dict[int, Run] = {}

    def reset(self) -> None:
        """What a RESET does: counters to zero. Memories stay."""
        self.cycles = 0
        self.schedule_faults = 0
        self.busy = Counter()

    def write(self, space: Space, address: int, words: np.ndarray) -> None:
        """Whole entries into a memory, from link word `address` on."""
        entry = address // parts(entry_bits(self.config, space))
        if space is Space.PROGRAM:
            codes = unpack_program(self.config, words)
            self.program[entry:entry + len(codes)] = codes
            self._runs.clear()
        elif space is Space.MEM:
            values = unpack_mem(self.config, words)
            self.mem[entry * self.config.lanes:][:len(values)] = values
        elif space is Space.WRAM:
            weights = unpack_wram(self.config, words)
            word, column = np.divmod(entry + np.arange(len(weights)), self.config.cols)
            self.wram[column, word] = weights

    def read(self, space: Space, address: int, count: int) -> np.ndarray:
        """`count` link words of PROGRAM or MEM, from link word `address` on; uint32."""
        size = parts(entry_bits(self.config, space))
        first, last = address // size, -(-(address + count) // size)
        if space is Space.PROGRAM:
            words = pack_program(self.config, self.program[first:last])
        else:
            words = pack_mem(self.config, self.mem[first * self.config.lanes:last * self.config.lanes])
        return words[address - first * size:][:count]

    def start(self, entry: int) -> None:
        """Executes the program from `entry` to its HALT; ProgramError if it has none."""
        if entry not in self._runs:
            self._runs[entry] = self._prepare(entry)
        run = self._runs[entry]
        stream: deque[np.ndarray] = deque()
        for issue in run.issues:
            if issue.op is Op.MXM:
                stream.extend(self._mxm(issue))
            elif issue.op is Op.VXM:
                self._vxm(issue, stream)
        self.cycles, self.schedule_faults, self.busy = run.cycles, run.faults, run.busy

    def _prepare(self, entry):
        isa = Isa(self.config)
        program = [isa.decode(code) for code in self.program]
        issues = list(trace(self.config, program, entry))
        faults = len(violations(self.config, program, entry))
        busy = Counter()
        for issue in issues:
            for use in uses(self.config, issue):
                busy[use.unit] += len(use.cycles)
        return Run(issues, run_cycles(issues[-1]), faults, busy)

    def _mxm(self, issue):
        """The results of an MXM: int64 [outer, cols]."""
        act, wgt = mxm_beats(self.config, issue.operands)
        words = self.mem.astype(np.int8).reshape(-1, self.config.rows)
        x = words[act].reshape(len(act), -1).astype(np.float64)
        w = self.wram[:, wgt].reshape(self.config.cols, len(act), -1).astype(np.float64)
        # float64 holds these sums exactly: they are below 2**53.
        return np.einsum("ok,cok->oc", x, w).astype(np.int64)

    def _vxm(self, issue, stream):
        """Scales, rounds, saturates and writes results from the stream."""
        lanes = self.config.lanes
        scale, dst = vxm_granules(self.config, issue.operands)
        x = np.stack([stream.popleft() for _ in range(issue.operands["count"])]).reshape(-1, lanes)
        memory = self.mem.reshape(-1, lanes)
        y = round_shift(x * memory[scale].astype(np.int64), issue.operands["shift"])
        memory[dst] = saturate(y, 8 if issue.operands["narrow"] else 16)
