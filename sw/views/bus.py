"""The rows of the timetable for the bus of external memory: a row a bank, and one for REFRESH."""

import numpy as np

from ...hdl.dram import Dram
from ...hdl.dram.pins import burst_bits
from ...hdl.sequencer import Sequencer
from ...hdl.spec.config import Config
from ...hdl.spec.dram_parts import BURST
from ...hdl.spec.isa import Op
from ...hdl.timing import Issue


def bus_rows(config: Config) -> list[tuple[str, str]]:
    """(name, label) of the rows; [] for a tile without external memory."""
    if not config.memory:
        return []
    banks = [(f"sdram.bank{bank}", f"bus: bank {bank}") for bank in range(config.memory.part.banks)]
    return [*banks, ("sdram.refresh", "bus: REFRESH")]


def bus_uses(config: Config, issue: Issue) -> list[np.ndarray]:
    """By row: the cycles in which the bank's words are on the bus, or in which the chip refreshes, int64 [n], for a MOVE.

    A REFRESH takes tRFC cycles. That of a move's first cycle may have begun before, in the idle engine; those between moves
    are not listed. [] for any other instruction."""
    if issue.op is not Op.MOVE:
        return []
    plan, start = Dram.plan(config), issue.cycle + Sequencer.latency(config, Op.MOVE)
    in_row, bank_bits, _ = burst_bits(config.memory.part)
    number = np.arange(issue.operands["count"])
    bursts = start + plan.takeover + plan.row + BURST * number + plan.pause * (number // plan.group)
    bank = (issue.operands["far"] + number >> in_row) % (1 << bank_bits)
    words = [(bursts[bank == each][:, None] + np.arange(BURST)).ravel() for each in range(config.memory.part.banks)]
    # In a pause all banks are closed before the REFRESH.
    pauses = bursts[plan.group - 1:-1:plan.group] + plan.close + plan.timing.rp
    refreshes = (np.concatenate([[start], pauses])[:, None] + np.arange(plan.timing.rfc)).ravel()
    return [*words, refreshes]


def place_in_banks(config: Config, issue: Issue) -> int:
    """What decides which banks a MOVE uses when, beside its length: the place of its first burst among the banks' rows."""
    in_row, bank_bits, _ = burst_bits(config.memory.part)
    return issue.operands["far"] % (1 << in_row + bank_bits)
