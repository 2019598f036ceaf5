"""The scheduler: gives every operation its cycle, exactly.

A program is laid out on a time axis that starts at the start strobe. Where the sequencer needs a
distance between two issues, it becomes the `wait` of the first.
"""

from dataclasses import replace

from ..hdl.config import Config
from ..hdl.isa import WAIT_BITS, Address, Instruction, Op
from ..hdl.mxm import Mxm
from ..hdl.sequencer import Sequencer
from ..hdl.timing import MXM_BEAT, VXM_BEAT, next_issue
from ..hdl.vxm import Vxm

MAX_WAIT = (1 << WAIT_BITS) - 1


def stream_offset(config: Config, inner: int) -> int:
    """Cycles from the issue of an MXM to that of the VXM that takes its results, the first just in time."""
    first_granule = MXM_BEAT + inner - 1 + Mxm.latency(config)
    return first_granule - Vxm.STREAM_LATENCY - VXM_BEAT


def drain_cycles(config: Config, count: int, interval: int) -> int:
    """Cycles from the issue of a VXM to its last write."""
    return VXM_BEAT + (count - 1) * interval + config.beats_per_result - 1 + Vxm.LATENCY


def matmul(config: Config, *, rows: int = 1, inner: int, outer: int, act: int, wgt: int, scale: int, dst: int,
           shift: int, narrow: bool = False, entry: int = 0, note: str = "") -> list[Instruction]:
    """A program that multiplies `rows` activation vectors by one matrix.

    `inner` words of activations (from word `act` on, vectors one after another) meet `outer` * `inner` words of
    W-RAM from `wgt` on; factors come from granule `scale` on, results go to granule `dst` on. One vector is a
    matrix-vector product. The MXM gets a beat in every cycle, but for vectors so short that a row's
    results are not on their way to MEM before the next row's.

    `entry` is where the program will lie: its loop jumps there.

    `inner` must be at least cols / lanes, or results would leave faster than the VXM takes them.
    """
    take = stream_offset(config, inner)
    mxm = Instruction(Op.MXM, operands={
        "act": Address(act), "wgt": Address(wgt), "inner": inner, "outer": outer, "act_step": 0, "wgt_step": inner,
    }, note=note)
    vxm = Instruction(Op.VXM, operands={
        "scale": Address(scale), "dst": Address(dst), "count": outer, "interval": inner, "shift": shift,
        "narrow": int(narrow),
    }, note=note)
    end = take + drain_cycles(config, outer, inner) - Sequencer.HALT_CYCLES
    if rows == 1:
        return lay_out([(0, mxm), (take, vxm), (max(end, take + 1), Instruction(Op.HALT))])

    # A loop over the vectors; registers 1 and 2 step through them and through the results.
    granules = outer * config.beats_per_result
    period = max(inner * outer, take + 3 + Sequencer.LOOP_CYCLES)
    stepping = [
        (0, Instruction(Op.SET, operands={"register": 1, "value": act})),
        (1, Instruction(Op.SET, operands={"register": 2, "value": dst})),
        (2, _with_address(mxm, "act", Address(0, 1))),
        (2 + take, _with_address(vxm, "dst", Address(0, 2))),
        (3 + take, Instruction(Op.ADD, operands={"register": 1, "value": inner})),
        (4 + take, Instruction(Op.ADD, operands={"register": 2, "value": granules})),
        (2 + period - Sequencer.LOOP_CYCLES,
         Instruction(Op.LOOP, operands={"counter": 0, "count": rows, "target": entry + 2})),
        (2 + max(end, period), Instruction(Op.HALT)),
    ]
    return lay_out(stepping)


def lay_out(timed: list[tuple[int, Instruction]]) -> list[Instruction]:
    """Instructions, each with the cycle it should issue in (the first's is the origin), with waits filled in.

    A wait that does not fit its field is carried on by NOPs, and so is all of what follows a LOOP, whose own wait would
    pass at every turn. ValueError if two are closer than the sequencer can issue them.
    """
    program = []
    for (cycle, instruction), (after, _) in zip(timed, [*timed[1:], (None, None)], strict=True):
        wait = 0 if after is None else after - cycle - next_issue(instruction.op, 0)
        if wait < 0:
            raise ValueError(f"{instruction} issues in cycle {cycle}, and the next in {after}: too close")
        own = 0 if instruction.op is Op.LOOP else min(wait, MAX_WAIT)
        program.append(replace(instruction, wait=own))
        wait -= own
        while wait > 0:
            nop = min(wait - 1, MAX_WAIT)
            program.append(Instruction(Op.NOP, nop))
            wait -= nop + 1
    return program


def _with_address(instruction, name, address):
    return replace(instruction, operands=instruction.operands | {name: address})

