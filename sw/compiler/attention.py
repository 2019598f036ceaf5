"""Attention behind the scores: exponentials, reciprocals of their sums, and values over the KV cache.

Its cycles depend on the number of blocks of the cache. So the distances of its instructions are `Cycles`, which PERIOD and
NOP keep, and no timeline places them: the rules are proved for every number of blocks when a program is made.
"""

from dataclasses import replace

from ...hdl.mxm.mxm import Mxm
from ...hdl.scalars.scalars import Scalars
from ...hdl.spec.isa import Function, Instruction, MxmBlocks, Op, Reduce, Sfu, To, VxmBlocks
from ...hdl.timing import mxm_beat, next_issue, sfu_beat, vxm_beat
from ...hdl.vxm.vxm import Vxm
from ..model.graph import Kind
from .builder import REDUCED, Builder, log2
from .cycles import Cycles
from .distances import stream_offset
from .kernels.heads import in_blocks

BLOCKS = 8
"""The first of the address registers that a compact tile has for multiples of the number of blocks."""
AHEAD = 2
"""Periods from a head's EXP2 to its product with the values: its exponentials are there by then."""


class Attention:
    """The softmax and the values of all heads, on a builder.

    `scores`, `powers`, `inner`: cycles a block of a head's scores, of its EXP2, and of the dot products of its values;
    `groups`: results of the MXM that a head's output takes.
    """

    def __init__(self, builder: Builder):
        self.builder, self.config = builder, builder.config
        config, layout = builder.config, builder.layout
        self.heads = builder.shape.n_heads
        self.groups = layout.head // config.cols
        self.scores = config.block // config.cols * max(layout.head // config.rows * layout.halves, config.beats_per_result)
        self.powers, self.inner = config.block // config.lanes, config.block // config.rows * layout.halves
        self.softmax = next(builder.graph.of_kind(Kind.SOFTMAX))
        self.values = next(builder.graph.of_kind(Kind.VALUES))
        if config.compact:
            needed = {config.block // config.cols, self.powers, self.inner, self.heads * self.scores,
                      self.heads * self.powers, (self.heads * self.groups - 1) * self.inner} - {0}
            for register, times in enumerate(sorted(needed), BLOCKS):
                builder.registers.add(f"{times} blocks", register, times)
            self.multiples = sorted(needed)
        else:
            self.multiples = []

    def program(self, first: int) -> list[Instruction]:
        """From the issue of the scores' VXM to the last beat that writes attention's output, where the next section has its
        origin; that section's first issue is in its cycle `first`."""
        return (self._paced if self.config.engines > 1 else self._in_turns)(first)

    def _op(self, op, note="", operation=None, **operands):
        self.builder.operation = operation or self.softmax
        return self.builder.op(op, note, **operands)

    def _exponentials(self, **how):
        """EXP2 of all heads' scores, which leaves a sum of each."""
        builder = self.builder
        row = builder.layout.in_granules(builder.layout.context)
        return self._op(Op.VXM, "exp", **builder.aside, function=Function.EXP2, x=builder.buffer["score"],
                        dst=builder.buffer["score"], x_step=1, x_hop=row, dst_hop=row, outer=self.heads,
                        **in_blocks(builder, VxmBlocks.MIDDLE, self.powers), shift=14, narrow=1, mask=1, to=To.MEM,
                        scalar=REDUCED, scalar_hop=1, reduce=Reduce.SUM, into=REDUCED + self.heads, **how)

    def _reciprocals(self):
        """The reciprocals of the sums of all heads, a period apart."""
        return self._op(Op.SFU, "1/sum", function=Sfu.RECIPROCAL, a=REDUCED + self.heads, into=self.builder.reciprocals,
                        count=self.heads)

    def _products(self, **how):
        """The products of all heads' exponentials with the values: MXM and VXM."""
        builder, layout, config = self.builder, self.builder.layout, self.config
        wide = {"wide": 1} if layout.halves > 1 else {}
        mxm = self._op(Op.MXM, "values", self.values, act=builder.word("score"), act_hop=layout.context // config.rows,
                       wgt=builder.place.values, wgt_step=layout.value_hop * layout.halves,
                       wgt_hop=self.groups * layout.value_hop * layout.halves, wrap=builder.shape.n_kv_heads,
                       middle=self.groups, outer=self.heads, **in_blocks(builder, MxmBlocks.INNER, self.inner), **wide, **how)
        vxm = self._op(Op.VXM, "values", self.values, stream=1, dst=builder.buffer["o"], dst_hop=builder.head_granules,
                       inner=config.beats_per_result, middle=self.groups, outer=self.heads,
                       **in_blocks(builder, VxmBlocks.INTERVAL, self.inner), scalar=builder.reciprocals, scalar_hop=1,
                       shift=-builder.shifts[self.values.name], narrow=1, to=To.MEM, **how)
        return mxm, vxm

    # One engine of the VXM

    def _in_turns(self, first):
        """In a tile with one engine of the VXM: all exponentials, and then all values."""
        config, apart = self.config, self.config.beats_per_result
        mxm_next, vxm_next, sfu_next, pause = (next_issue(config, op) for op in (Op.MXM, Op.VXM, Op.SFU, Op.NOP))
        inner, turns, results, heads = self.inner, self.heads - 1, self.heads * self.groups - 1, self.heads
        mxm, vxm = self._products()
        # From the issue of the MXM to that of the VXM, but for the first product's beats.
        offset = stream_offset(config, 0)
        alone = Vxm.entering_cycles(config) + Vxm.leaving_cycles(config)
        # From the issue of the exponentials to that of the reciprocals, but for the former's beats: a sum is there before its
        # reciprocal begins.
        busy, least = Scalars.LATENCY + 1, vxm_next + next_issue(config, Op.PERIOD) + pause
        summed = max(least, vxm_beat(config) + Vxm.reduce_latency(config) - sfu_beat(config) - turns * min(busy, self.powers))
        # The exponentials are there before the product begins, and reciprocals, which may be slower than it, before they are
        # needed.
        late = max(vxm_beat(config) + Vxm.latency(config) - mxm_beat(config) - summed,
                   busy + sfu_beat(config) - vxm_beat(config) + turns * max(0, busy - self.groups * inner) - offset - inner)
        rest = vxm_beat(config) + apart - 1 + first + results * max(0, apart - inner) - vxm_next - pause
        return [
            self._pause(Cycles(alone - vxm_next - pause, heads * self.scores)),
            self._exponentials(),
            self._op(Op.PERIOD, value=busy),
            self._pause(Cycles(summed - least, heads * self.powers)),
            replace(self._reciprocals(), wait=max(0, late - sfu_next)),
            mxm,
            self._pause(Cycles(offset - mxm_next - pause, inner)),
            vxm,
            self._pause(Cycles(rest, results * inner)),
        ]

    def _pause(self, cycles: Cycles) -> Instruction:
        """A NOP of so many cycles, besides the one that it takes itself."""
        number = self.builder.registers.get(f"{cycles.per_block} blocks", 0)
        return replace(self._op(Op.NOP, register=number), wait=max(0, cycles.base))

    # Two engines

    def _paced(self, first):
        """Of a head, EXP2 takes a beat a granule of its scores, and its product with the values follows `AHEAD` periods
        later, such that its results find the VXM free: between the EXP2 of one head and that of the next.
        """
        config, apart = self.config, self.config.beats_per_result
        latency = Mxm.latency(config) - 1 - Vxm.STREAM_LATENCY
        period = self._head_period(latency)
        nop, set_period = next_issue(config, Op.NOP), next_issue(config, Op.PERIOD)
        # From one instruction to the next with a PERIOD, a NOP and a PERIOD between them.
        between = 2 * set_period + 2 * nop
        # The maximum of the first head is there before its EXP2, if there is but one block.
        soon = max(0, self.scores + Vxm.reduce_latency(config) - self.heads * self.scores - between)
        mxm, vxm = self._products(paced=1)
        ahead = period.times(AHEAD) + Cycles(-latency - between, self.powers - self.inner, -latency - between)
        program = [
            self._period(Cycles(0, self.scores)),
            replace(self._op(Op.NOP, turns=self.heads), wait=soon),
            self._period(period),
            self._exponentials(paced=1),
            self._period(ahead),
            self._op(Op.NOP, turns=1),
            self._period(period),
            mxm,
            replace(self._op(Op.NOP, blocks=log2(self.inner) + 1), wait=latency - 3 * nop + 1 - (Scalars.LATENCY + 1)),
            replace(self._reciprocals(), wait=Scalars.LATENCY),
            vxm,
        ]
        # To the last beat of the stream, where the next section has its origin.
        rest = vxm_beat(config) + apart - 1 + first - 2 * nop
        if self.groups == 1:
            return [*program, replace(self._op(Op.NOP, turns=self.heads - 1), wait=rest)]
        return [
            *program,
            self._op(Op.NOP, turns=self.heads - 1),
            self._period(Cycles((self.groups - 1) * apart, (self.groups - 1) * self.inner)),
            replace(self._op(Op.NOP, turns=1), wait=max(0, rest - set_period - nop)),
        ]

    def _head_period(self, latency):
        """Cycles from one head to the next."""
        config, apart = self.config, self.config.beats_per_result
        # From the last beat of a reduction to the first that can use its reciprocal.
        sum_to_use = Vxm.reduce_latency(config) + 1 + Scalars.LATENCY + 1
        # The first product may not overtake the exponentials, nor the reciprocal of a sum the sum.
        least = -(-max(latency + Vxm.latency(config) + 1, sum_to_use) // AHEAD)
        per_block = max(self.powers, self.inner) + (self.groups - 1) * self.inner
        if self.powers != self.inner:
            return Cycles(max(self.groups * apart, least), per_block)
        return Cycles(self.groups * apart, per_block, least)

    def _period(self, cycles: Cycles) -> Instruction:
        """A PERIOD of so many cycles."""
        return self._op(Op.PERIOD, times=cycles.per_block, value=cycles.base, least=cycles.least)
