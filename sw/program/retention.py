"""The proof that a program refreshes its external memory by reading it.

On a tile with `sdram_sweep_us` a MOVE has no pauses for REFRESH. A row keeps its contents because it is opened often
enough: a run of a token reads all rows of the model, and between runs the engine refreshes. Row by row, the longest time
between two openings is at most

    (end of a run - the row's last opening in it) + A + (the row's first opening in the next run)

where A is the time in which the idle engine refreshes all rows: if the runs are closer than A, the engine may not have
come to this row; if they are further apart, it has, and refreshes it again every A. Within a run it is the longest gap.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from ...hdl.dram import Dram
from ...hdl.dram.pins import burst_bits
from ...hdl.sequencer import Sequencer
from ...hdl.spec.config import Config
from ...hdl.spec.errors import MareyError
from ...hdl.spec.isa import Instruction, Op, Place
from ...hdl.timing import run_cycles, trace


class RetentionError(MareyError):
    """A row of external memory would lose its contents before it is read again."""


@dataclass(frozen=True)
class Retention:
    """What was proved: the number of rows that hold the model, the longest time between two openings of one of them, and the
    time for which it keeps its contents, in cycles."""

    rows: int
    longest: int
    most: int

    def text(self, config: Config) -> str:
        """The figures in words."""
        ms = 1000 * config.sdram_mhz
        return (f"each of {self.rows:,} rows is read or refreshed within {self.longest / ms:.1f} ms, and keeps its contents "
                f"for {self.most / ms:.1f} ms")


def openings(config: Config, program: list[Instruction], count: int) -> tuple[np.ndarray, np.ndarray, int]:
    """The rows that a run with `count` tokens reads, int64 [n], the cycles in which it does, rising, and the run's cycles."""
    plan, latency, in_row = Dram.plan(config), Sequencer.latency(config, Op.MOVE), burst_bits(config.memory.part)[0]
    rows, cycles = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for issue in trace(config, program, count=count):
        # What is written are logits, which may be lost, and a position's keys and values, whose rows are read, too.
        if issue.op is Op.MOVE and issue.operands["to"] is not Place.SDRAM:
            number = np.arange(issue.operands["count"])
            row = issue.operands["far"] + number >> in_row
            opens = np.concatenate([[0], np.flatnonzero(np.diff(row)) + 1])
            rows.append(row[opens])
            cycles.append(issue.cycle + latency + np.array([plan.burst(int(each)) for each in opens]) - plan.row)
    return np.concatenate(rows), np.concatenate(cycles), run_cycles(issue)


def prove(config: Config, program: list[Instruction], bursts: int) -> Retention:
    """Proves that a program keeps the first `bursts` bursts of external memory, for tokens and for those of a prompt.

    RetentionError, in one line, for the row that waits longest.
    """
    timing = config.memory
    live = (bursts - 1 >> burst_bits(timing.part)[0]) + 1
    idle = Dram.plan(config).period * timing.part.refreshes
    before, behind, within = [], [], np.zeros(live, np.int64)
    for count in (0, 1):
        rows, cycles, end = openings(config, program, count)
        first, last = np.full(live, end + timing.retention), np.full(live, -timing.retention)
        for row, cycle in zip(rows.tolist(), cycles.tolist(), strict=True):
            if row < live:
                if last[row] >= 0:
                    within[row] = max(within[row], cycle - last[row])
                first[row], last[row] = min(first[row], cycle), cycle
        before.append(first)
        behind.append(end - last)
    waits = np.max([within, *(ends + idle + begins for ends, begins in product(behind, before))], axis=0)
    worst = int(waits.argmax())
    if waits[worst] > timing.retention:
        ms = 1000 * config.sdram_mhz
        raise RetentionError(
            f"row {worst} of external memory may wait {waits[worst] / ms:.2f} ms until it is read again, and keeps its "
            f"contents for {timing.retention / ms:.2f} ms: set sdram_sweep_us to 0, or a smaller model or a faster clock")
    return Retention(live, int(waits[worst]), timing.retention)
