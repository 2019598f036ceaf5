"""What a VXM of a tile that is `chained` does with a turn's values when they are in MEM: the operand `then`.

A stream leaves the VXM idle between one result of the MXM and the next. In these cycles an instruction whose operand
`then` is not NOTHING goes on with the `cols` values that it has just written:

======= ===============================================================================================================
SQUARES adds up the squares of all values of the instruction, each divided by 2**14 and saturated to 16 bits, in scalar
        register `into`
SILU    replaces each value by SILU of it
TURN    takes the values in pairs, as heads of queries and keys have them, turns each pair by a rotation in MEM, divides it
        by 16, and replaces it by the result in 8 bits. The rotations of a head begin at granule `y_hop` * 8, two granules
        for each value, as a VXM with `pair` reads them. A head is `x_hop` + 1 results long
======= ===============================================================================================================

So such an instruction is two that take turns: one takes the MXM's results, `cols` beats a turn; the other reads as `x` what
the first has written, 7 cycles later. `inner` counts the beats of both, and the pause between them: `cols` + 7, or
2 * `cols` + 7 with TURN.

The functions of this module make the operands of the two, each a VXM without `then`, from which everything follows: cycles,
addresses, values. `broken` says what the operands must be for that.
"""

import numpy as np

from ..spec.config import Config
from .instructions import Function, Reduce, Then, To
from .integer import GATE_SHIFT, SQUARE_SHIFT

CHAIN_CYCLES = 7
"""Cycles from a beat of the stream to that in which the first of its turn's values is read once more. Beat number 8 of a turn,
counted from 1, is the first that is chained, so that a bit of the number tells the two kinds."""
TURN_SHIFT = 18
"""The shift of TURN: a rotation has 14 fractional bits, and what is turned has four more than the result (the compiler's
`FRACTION` follows from it)."""
TABLE_UNIT = 8
"""Granules of rotations for the four values of a result; `y_hop` counts in these."""
SHIFTS = {Then.SQUARES: SQUARE_SHIFT, Then.SILU: GATE_SHIFT, Then.TURN: TURN_SHIFT}


def inner_beats(config: Config, then: Then) -> int:
    """The operand `inner` of an instruction with this `then`: the beats of a turn of both parts, and of the pause between."""
    return CHAIN_CYCLES + config.cols * (2 if then is Then.TURN else 1)


def parts(config: Config, operands: dict) -> list[tuple[int, dict]]:
    """The parts of a VXM: [(cycles by which its beats are later, its operands)]. One part without `then`."""
    if not operands.get("then", Then.NOTHING).value:
        return [(0, operands)]
    return [(0, stream_part(config, operands)), (CHAIN_CYCLES, chained_part(config, operands))]


def stream_part(config: Config, operands: dict) -> dict:
    """The operands of the part that takes the MXM's results."""
    return operands | {"then": Then.NOTHING, "inner": config.cols, "interval": max(operands["interval"], operands["inner"]),
                       "x_hop": 0, "y_hop": 0, "reduce": Reduce.NONE, "into": 0}


def chained_part(config: Config, operands: dict) -> dict:
    """The operands of the part that takes the values from MEM."""
    then, dst = operands["then"], operands["dst"]
    part = stream_part(config, operands) | {
        "stream": 0, "plus": 0, "x": dst, "x_step": 1, "y": dst, "y_step": 1, "scalar": 0, "scalar_hop": 0, "bare": 1,
        "shift": SHIFTS[then]}
    if then is Then.SQUARES:
        return part | {"to": To.NOWHERE, "reduce": operands["reduce"], "into": operands["into"]}
    if then is Then.SILU:
        return part | {"by_vector": 0, "function": Function.SILU}
    results = operands["x_hop"] + 1
    values = results * config.cols
    return part | {"pair": 1, "narrow": 1, "inner": 2 * config.cols, "middle": results, "outer": operands["middle"] // results,
                   "x_hop": values, "dst_hop": values, "y": operands["y_hop"] * TABLE_UNIT}


def broken(config: Config, operands: dict) -> list[str]:
    """What is wrong with the operands of a VXM with a `then`, one line each; see the head of this file. An operand may be an
    array, a number a run."""
    then = operands["then"]
    reduce = Reduce.SUM if then is Then.SQUARES else Reduce.NONE
    # The hops of SQUARES and SILU, and the others' `dst_hop` and `scalar_hop`, have no effect: there is one round.
    wanted = {"stream": 1, "function": Function.MULTIPLY, "by_vector": 1, "pair": 0, "outer": 1, "paced": 0, "to": To.MEM,
              "narrow": 0, "mask": 0, "x_step": 1, "reduce": reduce, "inner": inner_beats(config, then), "x": operands["dst"]}
    found = [f"with then={then.name}, {name} must be {getattr(value, 'name', value)}, not "
             f"{getattr(operands[name], 'name', operands[name])}"
             for name, value in wanted.items() if np.any(operands[name] != value)]
    if np.any(operands["dst"] % config.cols):
        found.append(f"with then={then.name}, dst must be a multiple of {config.cols}, not {operands['dst']}")
    if then is Then.TURN:
        found += _broken_turns(config, operands)
    return found


def _broken_turns(config, operands):
    """What is wrong with the counts and places of a TURN, whose addresses are made of bits, without an adder."""
    last, table, first = operands["x_hop"], operands["y_hop"], operands["dst"] // config.cols
    if last & last + 1:
        return [f"a head of a TURN has {last + 1} results, no power of two"]
    if table & last or np.any(first & last):
        return [f"the rotations and the values of a TURN must begin at multiples of a head's {last + 1} results"]
    if np.any(operands["middle"] % (last + 1)):
        return [f"a TURN of {operands['middle']} results, which are no whole heads of {last + 1}"]
    return []
