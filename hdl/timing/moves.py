"""What a MOVE does, cycle by cycle: to the units of the tile, and on the SDRAM's pins.

It is written apart from the engine (`hdl/dram/`), from the same distances (`Plan`): the engine is
held to it, and so is every program.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..dram import Dram, DramEngine, Gather, Plan, Scatter
from ..dram.pins import burst_bits
from ..mxm import Mxm
from ..sequencer import Sequencer
from ..spec.config import Config
from ..spec.dram_parts import BURST, Part
from ..spec.dram_rules import Action, Command
from ..spec.isa import Op, Place
from ..spec.legal import entry_bits
from .unit import Unit


def move_uses(config: Config, issued: int, operands: dict) -> Iterator[tuple[Unit, np.ndarray, np.ndarray | None]]:
    """The units that a MOVE uses: unit, cycles int64 [n], and addresses int64 [n] or None.

    `issued`: the cycle of its issue; `operands`: as numbers.
    """
    plan, start, to = Dram.plan(config), issued + Sequencer.latency(config, Op.MOVE), operands["to"]
    number = np.arange(operands["count"])
    bursts = start + plan.takeover + plan.row + BURST * number + plan.pause * (number // plan.group)
    yield Unit.SDRAM_ENGINE, np.arange(start, start + plan.busy(len(number))), None
    yield Unit.SDRAM_WRITE if to is Place.SDRAM else Unit.SDRAM_READ, bursts, operands["far"] + number
    words = (bursts[:, None] + np.arange(BURST)).reshape(-1, entry_bits(config, to) // config.memory.part.bus_bits)
    entries = np.arange(len(words))
    if to is Place.SDRAM:
        yield Unit.MEM_SENT, words[:, 0] - Scatter.LATENCY, operands["near"] + entries
        return
    written = words[:, -1] + Dram.read_latency(config) + Gather.LATENCY
    if to is Place.MEM:
        yield Unit.MEM_FILLED, written, operands["near"] + entries
    else:
        yield Unit.WRAM_FILLED, written + Mxm.CACHE_LATENCY, operands["near"] + entries // config.cols


def place(part: Part, burst: int) -> tuple[int, int, int]:
    """Bank, row and first column of a burst in a part. Addresses beyond the end begin again at 0."""
    in_row, bank_bits, row_bits = burst_bits(part)
    column, rest = burst % (1 << in_row) * BURST, burst >> in_row
    return rest % (1 << bank_bits), (rest >> bank_bits) % (1 << row_bits), column


def move_actions(plan: Plan, address: int, bursts: int, write: bool) -> list[Action]:
    """The commands of a move on the pins, in their order, by cycles from its start.

    `address`: its first burst; `write`: to the chip. The REFRESH of the takeover is not listed: it is
    in the first cycle, or it began before the move.
    """
    part, found = plan.timing.part, []
    moves = Command.WRITE if write else Command.READ
    for number in range(bursts):
        cycle, (bank, row, column) = plan.burst(number), place(part, address + number)
        previous = place(part, address + number - 1)
        first_of_group = number % plan.group == 0
        if first_of_group or (bank, row) != previous[:2]:
            found.append(Action(cycle - plan.row, Command.ACTIVATE, bank, row))
        found += [Action(cycle + word, moves, bank, (column + word) * plan.timing.rate)
                  for word in range(0, BURST, plan.timing.command_words)]
        if not first_of_group and (bank, row) != previous[:2]:
            found.append(Action(plan.burst(number - 1) + plan.close, Command.PRECHARGE, previous[0]))
        if number == bursts - 1 or (number + 1) % plan.group == 0:
            found.append(Action(cycle + plan.close, Command.PRECHARGE))
            if number < bursts - 1:
                found.append(Action(cycle + plan.close + plan.timing.rp, Command.REFRESH))
    latency = DramEngine.pin_latency(plan.timing)
    later = [replace(action, cycle=action.cycle + latency) for action in found]
    return sorted(later, key=lambda action: action.cycle)
