"""Attention after the scores: exponentials, reciprocals of their sums, and averages of the values.

Its cycles depend on the number of blocks of the KV cache, so no `Timeline` can place its
instructions. Their distances are `Cycles`, affine in the number of blocks, and PERIOD and NOP
instructions keep them. When a program is made, `verify` checks the rules for every number of blocks.
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
"""Number of the first address register that holds a multiple of the number of blocks, in a compact
tile."""
AHEAD = 2
"""Periods from a head's EXP2 to its product with the values, which reads the exponentials."""


class Attention:
    """Makes the instructions for the softmax and the values of all heads.

    `scores`, `powers`, `inner`: cycles that one head takes for each block: for its scores, for its
    EXP2, and for each dot product with its values. `groups`: MXM results (of cols values) in the
    output of a head.
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
        """The instructions between the VXM that takes the scores and the next section.

        The next section's origin is the last beat that writes attention's output; its first
        instruction issues in its cycle `first`.
        """
        return (self._paced if self.config.engines > 1 else self._in_turns)(first)

    def _op(self, op, note="", operation=None, **operands):
        self.builder.operation = operation or self.softmax
        return self.builder.op(op, note, **operands)

    def _exponentials(self, **how):
        """The VXM that applies EXP2 to all heads' scores and sums each head's exponentials in a
        scalar register."""
        builder = self.builder
        row = builder.layout.in_granules(builder.layout.context)
        return self._op(Op.VXM, "exp", **builder.second_engine, function=Function.EXP2,
                        x=builder.buffer["score"], dst=builder.buffer["score"], x_step=1, x_hop=row, dst_hop=row,
                        outer=self.heads, **in_blocks(builder, VxmBlocks.MIDDLE, self.powers), shift=14,
                        narrow=1, mask=1, to=To.MEM, scalar=REDUCED, scalar_hop=1, reduce=Reduce.SUM,
                        into=REDUCED + self.heads, **how)

    def _reciprocals(self):
        """The SFU that computes the reciprocals of all heads' sums; a period lies between one and
        the next."""
        return self._op(Op.SFU, "1/sum", function=Sfu.RECIPROCAL, a=REDUCED + self.heads, into=self.builder.reciprocals,
                        count=self.heads)

    def _products(self, **how):
        """The MXM that multiplies all heads' exponentials by the cached values, and the VXM that
        takes the results."""
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
        """The instructions for a tile with one VXM engine: first all heads' exponentials, then all
        their values."""
        config, apart = self.config, self.config.beats_per_result
        mxm_next, vxm_next, sfu_next, pause = (next_issue(config, op) for op in (Op.MXM, Op.VXM, Op.SFU, Op.NOP))
        inner, turns, results, heads = self.inner, self.heads - 1, self.heads * self.groups - 1, self.heads
        mxm, vxm = self._products()
        # From the issue of the MXM to that of the VXM, without the beats of the first product.
        offset = stream_offset(config, 0)
        alone = Vxm.entering_cycles(config) + Vxm.leaving_cycles(config)
        # From the issue of the exponentials to that of the reciprocals, without the beats of the
        # exponentials. Each sum must be in its register before its reciprocal begins.
        busy, least = Scalars.LATENCY + 1, vxm_next + next_issue(config, Op.PERIOD) + pause
        summed = max(least, vxm_beat(config) + Vxm.reduce_latency(config) - sfu_beat(config) - turns * min(busy, self.powers))
        # Wait after the SFU's issue. First line: the exponentials must be in MEM before the product reads
        # them. Second line: each reciprocal, which may take longer than a head's product, must be there
        # before the VXM reads it.
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
        """A NOP that waits so many cycles, beside its own issue cycles."""
        number = self.builder.registers.get(f"{cycles.per_block} blocks", 0)
        return replace(self._op(Op.NOP, register=number), wait=max(0, cycles.base))

    # Two engines

    def _paced(self, first):
        """The instructions for a tile with two VXM engines: a head each period.

        In a head's period its EXP2 takes a beat for each granule of scores. Its product with the
        values follows `AHEAD` periods later. The VXM takes the product's results after the EXP2 of
        one head and before that of the next, so the two engines do not collide.
        """
        config, apart = self.config, self.config.beats_per_result
        latency = Mxm.latency(config) - 1 - Vxm.STREAM_LATENCY
        period = self._head_period(latency)
        nop, set_period = next_issue(config, Op.NOP), next_issue(config, Op.PERIOD)
        # From one instruction to the next with a PERIOD, a NOP and a PERIOD between them.
        between = 2 * set_period + 2 * nop
        # With one block, the first head's EXP2 must wait for the head's maximum.
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
        # From here to the last beat of the stream, which is the next section's origin.
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
        """Cycles from one head to the next; `latency`: from an MXM's last beat to the VXM's beat
        that takes the result."""
        config, apart = self.config, self.config.beats_per_result
        # From the last beat of a sum to the first beat that can use its reciprocal.
        sum_to_use = Vxm.reduce_latency(config) + 1 + Scalars.LATENCY + 1
        # A product must not read exponentials before they are written, nor a reciprocal its sum.
        least = -(-max(latency + Vxm.latency(config) + 1, sum_to_use) // AHEAD)
        per_block = max(self.powers, self.inner) + (self.groups - 1) * self.inner
        if self.powers != self.inner:
            return Cycles(max(self.groups * apart, least), per_block)
        return Cycles(self.groups * apart, per_block, least)

    def _period(self, cycles: Cycles) -> Instruction:
        """A PERIOD instruction that sets the period to so many cycles."""
        return self._op(Op.PERIOD, times=cycles.per_block, value=cycles.base, least=cycles.least)
