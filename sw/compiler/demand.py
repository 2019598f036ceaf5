"""What a step demands of the tile, if its first instruction issues in cycle 0.

The cycles in which a unit is in use are the bits of an integer: bit n is cycle n. A shift moves them,
and what two uses have in common is found in one operation.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...hdl.spec.config import Config
from ...hdl.spec.isa import Instruction, Op, Reduce
from ...hdl.timing import Memory, Unit, Use, issue_cycles
from .accesses import Access

REDUCER = "reducer"
"""The VXM's reducer, as a unit: a round that is reduced keeps it from its first beat to its last."""


@dataclass(frozen=True)
class Demand:
    """What instructions demand, in cycles from the issue of the first.

    `units`: {unit: cycles in which it is in use, as bits}, for `REDUCER` and for units that take one use a cycle.
    `ends`: {unit: last cycle of its use}, for all other units. `accesses`: to memories. `registers`: the
    address registers that are read, each with the cycle of the issue that reads it.
    """

    units: dict[Unit | str, int]
    ends: dict[Unit, int]
    accesses: list[Access]
    registers: list[tuple[int, int]]

    @cached_property
    def end(self) -> int:
        """The last cycle in which a unit that takes one use a cycle is in use."""
        return max(bits.bit_length() for bits in self.units.values()) - 1


def demand_of(config: Config, placed: Iterable[tuple[int, Instruction]],
              uses: Callable[[Instruction, int], list[Use]]) -> Demand:
    """The demand of instructions. `placed`: (cycle of the issue, instruction). `uses`: makes the uses of an instruction that
    issues in a cycle."""
    demand = Demand({}, {}, [], [])
    for issued, instruction in placed:
        _keep(demand.units, Unit.ISSUE, bits_of(issued, issue_cycles(config, instruction)))
        demand.registers.extend((value.base, issued) for _, value in instruction.addresses)
        for use in uses(instruction, issued):
            if use.unit.rival:
                _keep(demand.units, use.unit, _bits(use.cycles))
            else:
                demand.ends[use.unit] = max(demand.ends.get(use.unit, 0), int(use.cycles.max()))
            if use.unit is Unit.VXM_BEAT and instruction["reduce"] is not Reduce.NONE:
                for first, last in use.cycles.reshape(instruction["outer"], -1)[:, [0, -1]].tolist():
                    _keep(demand.units, REDUCER, bits_of(first, last + 1 - first))
            # Of W-RAM words that a section writes, only the scores read some; bounds keep both apart (see
            # `heads.scores`).
            if use.unit.access and not (instruction.op is Op.MXM and use.unit.access.memory is Memory.WRAM):
                demand.accesses.append(Access.of(config, use, issued))
    return demand


def bits_of(first: int, count: int) -> int:
    """`count` cycles from `first` on, as bits."""
    return (1 << count) - 1 << first


def _bits(cycles):
    """Cycles, int64 [n], as bits."""
    chosen = np.zeros(int(cycles.max()) + 1, bool)
    chosen[cycles] = True
    return int.from_bytes(np.packbits(chosen, bitorder="little").tobytes(), "little")


def _keep(units, unit, bits):
    """Adds cycles to those of a unit."""
    units[unit] = units.get(unit, 0) | bits


def delay(busy: int, bits: int) -> int:
    """By how many cycles a use must be delayed, at least, so that none of its cycles is a busy one. Both are bits."""
    moved = bits
    while common := busy & moved:
        last = common.bit_length() - 1
        # The latest cycle in common stays in use until a free cycle of the use has come there.
        moved <<= last - (~moved & (1 << last) - 1).bit_length() + 1
    return moved.bit_length() - bits.bit_length()
