"""The scheduler: gives every operation its cycle, exactly.

A program is laid out on a time axis that starts at the start strobe. Where the sequencer needs a
distance between two issues, it becomes the `wait` of the first.
"""

from dataclasses import replace

from ...hdl.mxm.mxm import Mxm
from ...hdl.sequencer.sequencer import Sequencer
from ...hdl.spec.config import Config
from ...hdl.spec.isa import WAIT_BITS, Address, Instruction, Op, To, isa_of
from ...hdl.timing import issue_cycles, mxm_beat, mxm_interval, next_issue, vxm_beat
from ...hdl.vxm.vxm import Vxm

MAX_WAIT = (1 << WAIT_BITS) - 1


def stream_offset(config: Config, inner: int) -> int:
    """Cycles from the issue of an MXM to that of the VXM that takes its results, the first just in time."""
    return take_offset(config, inner - 1 + Mxm.latency(config))


def take_offset(config: Config, latency: int) -> int:
    """The same from the latency of the first granule: cycles from the first beat on."""
    return mxm_beat(config) + latency - Vxm.STREAM_LATENCY - vxm_beat(config)


def product(config: Config, *, inner: int, results: int, act: Address | int, wgt: Address | int, factors: Address | int,
            rows: int = 1, note: str = "", mxm: dict | None = None, **vxm) -> tuple[Instruction, Instruction, int]:
    """A matrix product of `rows` vectors: MXM, VXM, and the cycles from the issue of one to that of the other.

    `inner` words of activations (from word `act` on, vectors one after another) meet `results` * `inner` words of
    W-RAM from `wgt` on; factors come from granule `factors` on. `mxm` and `vxm` have other operands.
    """
    isa = isa_of(config)
    mxm = isa.make(Op.MXM, note=note, **({"act": act, "wgt": wgt, "inner": inner, "middle": results, "wgt_step": inner,
                                          "outer": rows, "act_hop": inner} | (mxm or {})))
    taken = {"stream": 1, "by_vector": 1, "y": factors, "y_step": 1, "inner": config.beats_per_result, "middle": results,
             "interval": mxm_interval(config, {"inner": inner, "fetch": 0}), "outer": rows} | vxm
    return mxm, isa.make(Op.VXM, note=note, **taken), stream_offset(config, inner)


def matmul(config: Config, *, rows: int = 1, inner: int, outer: int, act: int, wgt: int, scale: int, dst: int,
           shift: int, note: str = "") -> list[Instruction]:
    """A program that multiplies `rows` activation vectors by one matrix of `outer` * cols outputs.

    Results of a vector go to granule `dst` on, vectors one after another. The MXM gets a beat in every cycle, but for
    results of fewer words than cols / lanes.
    """
    mxm, vxm, offset = product(
        config, inner=inner, results=outer, act=act, wgt=wgt, factors=scale, rows=rows, note=note,
        dst=dst, dst_hop=outer * config.beats_per_result, to=To.MEM, shift=shift)
    interval = mxm_interval(config, {"inner": inner, "fetch": 0})
    last = offset + vxm_beat(config) + (rows * outer - 1) * interval + config.beats_per_result - 1
    end = last + Vxm.ending_cycles(config) - Sequencer.HALT_CYCLES
    return lay_out(config, [(0, mxm), (offset, vxm), (end, isa_of(config).make(Op.HALT))])


def lay_out(config: Config, timed: list[tuple[int, Instruction]]) -> list[Instruction]:
    """Instructions, each with the cycle it should issue in (the first's is the origin), with waits filled in.

    A wait that does not fit its field is carried on by NOPs, and so is all of what follows a LOOP, whose own wait would
    pass at every turn. ValueError if two are closer than the sequencer can issue them, and what is between.
    """
    program = []
    for (cycle, instruction), (after, _) in zip(timed, [*timed[1:], (None, None)], strict=True):
        wait = 0 if after is None else after - cycle - issue_cycles(config, replace(instruction, wait=0))
        if wait < 0:
            raise ValueError(f"{instruction} issues in cycle {cycle}, and the next in {after}: too close")
        least = next_issue(config, Op.NOP)
        own = 0 if instruction.op is Op.LOOP else wait if wait <= MAX_WAIT else MAX_WAIT - least
        program.append(replace(instruction, wait=own))
        wait -= own
        if 0 < wait < least:
            raise ValueError(f"{instruction} issues in cycle {cycle}, and the next in {after}: too close for a NOP")
        while wait > 0:
            nop = wait - least if wait <= MAX_WAIT else MAX_WAIT - 2 * least
            program.append(isa_of(config).make(Op.NOP, nop))
            wait -= least + nop
    return program
