"""What a move does on the SDRAM's pins, cycle by cycle.

It is written apart from the engine (`hdl/dram/`), from the same distances (`Plan`): the engine is
held to it, and so is every program.
"""

from ..dram import DramEngine, Plan
from ..dram.pins import burst_bits
from ..spec.dram_parts import BURST, Part
from ..spec.dram_rules import Action, Command


def place(part: Part, burst: int) -> tuple[int, int, int]:
    """Bank, row and first column of a burst in the chip. Addresses beyond the end begin again at 0."""
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
        found.append(Action(cycle, moves, bank, column))
        if not first_of_group and (bank, row) != previous[:2]:
            found.append(Action(plan.burst(number - 1) + plan.close, Command.PRECHARGE, previous[0]))
        if number == bursts - 1 or (number + 1) % plan.group == 0:
            found.append(Action(cycle + plan.close, Command.PRECHARGE))
            if number < bursts - 1:
                found.append(Action(cycle + plan.close + plan.timing.rp, Command.REFRESH))
    later = [Action(action.cycle + DramEngine.PIN_LATENCY, action.command, action.bank, action.address) for action in found]
    return sorted(later, key=lambda action: action.cycle)
