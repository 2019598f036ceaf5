"""A program of one matrix product, for benchmarks and tests."""

from ...hdl.sequencer.sequencer import Sequencer
from ...hdl.spec.config import Config
from ...hdl.spec.isa import Instruction, Op, To, isa_of
from ...hdl.timing import mxm_interval, vxm_beat
from ...hdl.vxm.vxm import Vxm
from .distances import stream_offset
from .emit import lay_out


def matmul(config: Config, *, rows: int = 1, inner: int, outer: int, act: int, wgt: int, scale: int, dst: int,
           shift: int, note: str = "") -> list[Instruction]:
    """A program that multiplies `rows` activation vectors by one matrix of `outer` * cols outputs.

    Each vector is `inner` words; they lie one after another from MEM word `act` on. The matrix is
    `outer` * `inner` words of W-RAM from `wgt` on. Factors, int16, one for each output, lie from
    granule `scale` on. A result is round_shift(sum * factor, `shift`), saturated to 16 bits; the
    results of the vectors lie one after another from granule `dst` on. The MXM gets a beat in every
    cycle, unless `inner` is less than cols / lanes. EncodingError for a number that does not fit
    its field.
    """
    isa, beats = isa_of(config), config.beats_per_result
    interval = mxm_interval(config, {"inner": inner, "fetch": 0})
    mxm = isa.make(Op.MXM, note=note, act=act, wgt=wgt, inner=inner, middle=outer, wgt_step=inner, outer=rows, act_hop=inner)
    vxm = isa.make(Op.VXM, note=note, stream=1, by_vector=1, y=scale, y_step=1, inner=beats, middle=outer, interval=interval,
                   outer=rows, dst=dst, dst_hop=outer * beats, to=To.MEM, shift=shift)
    offset = stream_offset(config, inner)
    last = offset + vxm_beat(config) + (rows * outer - 1) * interval + beats - 1
    end = last + Vxm.ending_cycles(config) - Sequencer.HALT_CYCLES
    return lay_out(config, [(0, mxm), (offset, vxm), (end, isa.make(Op.HALT))])
