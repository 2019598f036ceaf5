"""Attention after the scores: exponentials, reciprocals of their sums, and averages of the values.

Its cycles depend on the number of blocks of the KV cache, so no `Timeline` can place its
instructions. Their distances are `Cycles`, affine in the number of blocks, and PERIOD and NOP
instructions keep them. When a program is made, `verify` checks the rules for every number of blocks.
"""

from dataclasses import replace

import numpy as np

from ...hdl.scalars.scalars import Scalars
from ...hdl.spec.isa import Function, Instruction, MxmBlocks, Op, Reduce, Sfu, To, VxmBlocks
from ...hdl.timing import issue_cycles, mxm_beat, next_issue, sfu_beat, vxm_beat
from ...hdl.vxm.vxm import Vxm
from ..model.graph import Kind
from .builder import REDUCED, Builder
from .cycles import Cycles, fitted, straight
from .distances import stream_offset
from .kernels.heads import in_blocks
from .pace import TYPICAL_POSITIONS, Head, paces_of, ranges_of, take_distance
from .schedule import Boundary

BLOCKS = 8
"""Number of the first address register that holds a multiple of the number of blocks, or of the blocks behind the first,
in a compact tile."""
MOST_TIMES = 255
"""The largest factor of the blocks in a PERIOD."""


class Attention:
    """Makes the instructions for the softmax and the values of all heads.

    `head`: the cycles that a head takes. `blocks`: the most blocks of the KV cache. `narrow`: the
    result is int8, else int16. `ranges`: the most ranges of numbers of blocks that have programs of their own, each
    with a pace in `paces`; `pace` is that of the program that is made. `late`: a VXM instruction, or none, that comes
    behind the scores, before the first EXP2: it brings values to the cache. `counted`: the registers of a compact tile
    that hold a multiple of the number of blocks, or of the blocks behind the first, by name.
    """

    def __init__(self, builder: Builder, narrow: bool = True, ranges: int = 1):
        self.builder, self.config, self._narrow = builder, builder.config, {"narrow": 1} if narrow else {}
        config, layout = builder.config, builder.layout
        self.late: Instruction | None = None
        self.ranges = ranges
        # Blocks of the KV cache, and blocks that are counted as one: all, if their number is the same at each position.
        self.once = builder.place.blocks or 1
        self.heads, self.blocks = builder.shape.n_heads, layout.context // config.block // self.once
        self.head = head = Head(
            count=self.heads, kv_heads=builder.shape.n_kv_heads, groups=layout.value_head // config.cols,
            beats=config.wide_beats, powers=config.block // config.lanes * self.once,
            inner=config.block // config.rows * config.wide_beats * self.once,
            scores=config.block // config.cols * max(layout.head // config.rows * config.wide_beats, config.beats_per_result)
            * self.once)
        self.softmax = next(builder.graph.of_kind(Kind.SOFTMAX))
        self.values = next(builder.graph.of_kind(Kind.VALUES))
        if config.compact:
            self._candidates = self._results(ranges)
            self.choose(ranges)
            counts = {config.block // config.cols, head.powers, head.inner} - {0}
            results = {pace.per_block for _, pace in self._candidates}
            pauses = {head.count * head.scores, head.count * head.powers, *results} - counts - {0}
            self.counted = {f"{times} blocks": times for times in sorted(counts)} | {
                f"{times} later blocks": times for times in sorted(pauses)}
            for number, (name, times) in enumerate(self.counted.items(), BLOCKS):
                builder.registers.add(name, number, times if times in counts else 0)
        else:
            self.counted = {}
            self._candidates = paces_of(config, head, self.blocks, ranges > 1)
            self.choose(ranges)
            # What follows attention is scheduled for the shortest period; no other choice may have a shorter one.
            least = min(pace.period.at(1) for _, pace in self.paces)
            self._candidates = [pace for pace in self._candidates if pace.period.at(1) >= least]

    @property
    def between_heads(self) -> int:
        """The fewest cycles from the last result of a head to that of the next."""
        if self.config.engines == 1:
            return self.head.groups * max(self.head.inner, self.config.beats_per_result)
        return min(pace.period.at(1) for pace in self._candidates)

    def boundary(self, granule: int) -> Boundary:
        """What the next section finds at its origin, if attention's output is written from a granule on."""
        config, beats = self.config, self.config.beats_per_result
        issue = products = 0
        if config.engines == 1:
            # The pause before the section may be as short as its own cycles, with the fewest blocks, too.
            passed = next_issue(config, Op.VXM) + next_issue(config, Op.NOP)
            issue = passed - vxm_beat(config) - (beats - 1 + min(pace.at(first) for first, pace in self._candidates))
            products = mxm_beat(config) - vxm_beat(config) - stream_offset(config, 0) - beats
        return Boundary(granule, self.heads, self.builder.head_granules, self.head.groups * beats, beats, self.between_heads,
                        issue, products)

    def program(self, first: int) -> list[Instruction]:
        """The instructions between the VXM that takes the scores and the next section.

        The next section's origin is the last beat that writes attention's output; its first
        instruction issues in its cycle `first`.
        """
        return (self._paced if self.config.engines > 1 else self._in_turns)(first)

    def choose(self, ranges: int, fewest: int = 1, saved: int = 0, least: float = 1) -> None:
        """Chooses the paces with which the typical part of the context takes the fewest cycles, of at most so many ranges;
        with one engine, both ranges or one.

        `saved`: cycles that a range of at least `fewest` blocks takes less before the scores. `least`: as of `ranges_of`.
        """
        if self.config.engines == 1:
            self.paces = self._candidates[:2] if ranges > 1 else self._candidates[-1:]
            self.pace = self.paces[0][1]
            return
        typical = np.arange(1, min(self.blocks, -(-TYPICAL_POSITIONS // self.config.block)) + 1)
        cycles = []
        for pace in self._candidates:
            self.pace = pace
            cycles.append(self._cycles(self._paced(0), typical) if ranges > 1 else pace.cycles(self.config, self.head, typical))
        self.paces = [(first, self._candidates[number])
                      for first, number in ranges_of(np.array(cycles), ranges, np.where(typical >= fewest, saved, 0), least)]
        self.pace = self.paces[0][1]

    def _cycles(self, program, blocks):
        """Cycles of these instructions with so many blocks, int64 as `blocks`."""
        cycles = period = np.zeros_like(blocks)
        for each in program:
            cycles = cycles + issue_cycles(self.config, each)
            if each.op is Op.PERIOD:
                period = np.maximum(each["least"], each["value"] + blocks * each["times"])
            elif each.op is Op.NOP:
                cycles = cycles + each["turns"] * period + ((blocks << each["blocks"] - 1) if each["blocks"] else 0)
        return cycles

    def _op(self, op, note="", operation=None, **operands):
        self.builder.operation = operation or self.softmax
        return self.builder.op(op, note, **operands)

    def _exponentials(self, first=0, end=None, **how):
        """The VXM that applies EXP2 to the scores of the heads `first` to `end` - 1, all if there is no
        `end`, and sums each head's exponentials in a scalar register."""
        builder, count = self.builder, (self.heads if end is None else end) - first
        row = builder.layout.in_granules(builder.layout.context)
        return self._op(Op.VXM, "exp", **builder.second_engine, function=Function.EXP2,
                        x=builder.buffer["score"] + first * row, dst=builder.buffer["score"] + first * row, x_step=1,
                        x_hop=row, dst_hop=row, outer=count,
                        **in_blocks(builder, VxmBlocks.MIDDLE, self.head.powers // self.once), shift=14, narrow=1, mask=1,
                        to=To.MEM, scalar=REDUCED + first, scalar_hop=1, reduce=Reduce.SUM,
                        into=REDUCED + self.heads + first, **how)

    def _reciprocals(self, first=0, end=None):
        """The SFU that computes the reciprocals of these heads' sums; a period lies between one and the
        next."""
        return self._op(Op.SFU, "1/sum", function=Sfu.RECIPROCAL, a=REDUCED + self.heads + first,
                        into=self.builder.reciprocals + first, count=(self.heads if end is None else end) - first)

    def _products(self, first=0, end=None, **how):
        """The MXM that multiplies these heads' exponentials by the cached values, and the VXM that
        takes the results."""
        builder, layout, config, head = self.builder, self.builder.layout, self.config, self.head
        wide = {"wide": 1} if layout.halves > 1 else {}
        words, count = layout.context // config.rows, (self.heads if end is None else end) - first
        hop, values = head.groups * layout.value_hop * layout.halves, builder.place.values
        mxm = self._op(Op.MXM, "values", self.values, act=builder.word("score") + first * words, act_hop=words,
                       wgt=replace(values, offset=values.offset + first % head.kv_heads * hop), wgt_hop=hop, wrap=head.kv_heads,
                       wgt_step=layout.value_hop * layout.halves, middle=head.groups, outer=count,
                       **in_blocks(builder, MxmBlocks.INNER, head.inner // self.once), **wide, **how)
        vxm = self._op(Op.VXM, "values", self.values, stream=1, dst=builder.buffer["o"] + first * builder.head_granules,
                       dst_hop=builder.head_granules, inner=config.beats_per_result, middle=head.groups, outer=count,
                       **in_blocks(builder, VxmBlocks.INTERVAL, head.inner // self.once), scalar=builder.reciprocals + first,
                       scalar_hop=1, shift=-builder.shifts[self.values.name], to=To.MEM,
                       **self._narrow, **how)
        return mxm, vxm

    # One engine of the VXM

    def _results(self, ranges):
        """[(first number of blocks, cycles from the first result of the last product to the last one)], the last for any
        number of blocks.

        A result takes as many cycles as its head has words of values, but as many as its beats at the least. So there may be
        two ranges of numbers of blocks, in each of which the cycles are a straight line; else a line that is too high in parts.
        """
        results, least, inner = self.head.count * self.head.groups - 1, self.config.beats_per_result, self.head.inner
        needed = results * np.maximum(inner * np.arange(1, self.blocks + 1), least)
        several = -(-least // inner)
        if ranges == 1 or several == 1 or several > self.blocks:
            return [(1, straight(needed))]
        rising = Cycles(0, results * inner)
        return [(1, Cycles(results * least)), (several, rising), (1, rising + Cycles(results * (least - inner)))]

    def _in_turns(self, first):
        """The instructions for a tile with one VXM engine: first all heads' exponentials, then all
        their values."""
        config, apart = self.config, self.config.beats_per_result
        mxm_next, vxm_next, sfu_next, pause = (next_issue(config, op) for op in (Op.MXM, Op.VXM, Op.SFU, Op.NOP))
        head, heads = self.head, self.heads
        inner, turns = head.inner, heads - 1
        mxm, vxm = self._products()
        # From the issue of the MXM to that of the VXM, without the beats of the first product.
        offset = stream_offset(config, 0)
        alone = Vxm.entering_cycles(config) + Vxm.leaving_cycles(config)
        # From the issue of the exponentials to that of the reciprocals, without the beats of the exponentials.
        busy, passed = Scalars.LATENCY + 1, vxm_next + next_issue(config, Op.PERIOD) + pause
        summed = self._summed(busy, passed - heads * head.powers)
        # From the SFU's issue to the MXM's. First line: the exponentials must be in MEM before the product reads
        # them. Second line: each reciprocal, which may take longer than a head's product, must be there
        # before the VXM reads it. Third line: the exponentials must have left the VXM.
        late = max(vxm_beat(config) + Vxm.latency(config) - mxm_beat(config) - summed,
                   busy + sfu_beat(config) - vxm_beat(config) + turns * max(0, busy - head.groups * inner) - offset - inner,
                   alone - summed - offset - inner)
        rest = vxm_beat(config) + apart - 1 + first - vxm_next - pause
        return [
            self._pause(Cycles(alone - vxm_next - pause, heads * head.scores)),
            self._exponentials(),
            self._op(Op.PERIOD, value=busy),
            self._pause(Cycles(summed - passed, heads * head.powers)),
            replace(self._reciprocals(), wait=max(0, late - sfu_next)),
            mxm,
            self._pause(Cycles(offset - mxm_next - pause, inner)),
            vxm,
            self._pause(self.pace + Cycles(rest)),
        ]

    def _summed(self, busy, least):
        """Cycles from the issue of the exponentials to that of the reciprocals, `least` or more, but for the beats of all
        exponentials; `busy`: cycles of a reciprocal.

        Each sum must be in its register before its reciprocal begins, and no sum be written in the cycle of a reciprocal.
        """
        config, numbers = self.config, np.arange(self.heads)
        # When sums, from the last back, and reciprocals are written.
        written = vxm_beat(config) - 1 + Vxm.reduce_latency(config)
        sums = written - self.head.powers * np.arange(1, self.blocks + 1)[:, None] * numbers
        reciprocals = sfu_beat(config) + Scalars.latency(config, Sfu.RECIPROCAL) + busy * numbers
        summed = max(least, written + 1 - sfu_beat(config) - int(numbers[-1]) * min(busy, self.head.powers))
        while np.isin(summed + reciprocals, sums).any():
            summed += 1
        return summed

    def _pause(self, cycles: Cycles) -> Instruction:
        """A NOP that waits so many cycles, beside its own issue cycles."""
        registers, base, later = self.builder.registers, cycles.base, f"{cycles.per_block} later blocks"
        if later in registers:
            number, base = registers[later], cycles.at(1)
        else:
            number = registers.get(f"{cycles.per_block} blocks", 0)
        return replace(self._op(Op.NOP, register=number), wait=max(0, base))

    # Two engines

    def _paced(self, first):
        """The instructions for a tile with two VXM engines: a head each period, see `pace`."""
        config, pace, head = self.config, self.pace, self.head
        nop, results = next_issue(config, Op.NOP), (head.groups - 1) * head.inner
        to_head = self._period(pace.period)
        # A head's dot products but for the first: NOPs of powers of two.
        nops = self._nops(results)
        late, beats = ([], 0) if self.late is None else ([self.late], self.late["outer"] * self.late["inner"])
        program = self._wait(self._scored(beats), next_issue(config, Op.VXM) + issue_cycles(config, to_head) * pace.rolling)
        program += [to_head] * pace.rolling + [replace(each, wait=beats - next_issue(config, Op.VXM)) for each in late]
        for begin in range(0, self.heads, pace.size):
            end = min(begin + pace.size, self.heads)
            mxm, vxm = self._products(begin, end, paced=1)
            if begin == 0:
                program += self._until(self._exponentials(0, end, paced=int(pace.rolling)), pace.lead, to_head)
            else:
                program[-1] = replace(program[-1], wait=pace.behind - next_issue(config, Op.VXM) - nop * len(nops))
                program += [*nops, *self._until(self._exponentials(begin, end, paced=1), pace.follow, to_head)]
            program += [
                mxm,
                self._later(self._nops(head.inner)[0], take_distance(config) - 3 * nop - Scalars.LATENCY),
                replace(self._reciprocals(begin, end), wait=Scalars.LATENCY),
                vxm]
        # To the last beat of the stream, which is the next section's origin.
        nops.append(self._turns(end - begin - 1))
        most = max(config.beats_per_result - head.inner, 0) * (head.groups - 1)
        rest = vxm_beat(config) + config.beats_per_result - 1 + most + first - next_issue(config, Op.VXM) - nop * len(nops)
        return [*program, *nops[:-1], self._later(nops[-1], max(0, rest))]

    def _nops(self, per_block):
        """NOPs that wait so many cycles a block, beside their own."""
        if self.builder.place.blocks:
            return [replace(self._op(Op.NOP), wait=per_block)] if per_block else []
        return [self._op(Op.NOP, blocks=shift + 1) for shift in range(per_block.bit_length()) if per_block >> shift & 1]

    def _turns(self, turns):
        """A NOP that waits for so many periods of a head."""
        if self.builder.place.blocks:
            return replace(self._op(Op.NOP), wait=turns * self.pace.period.at(1))
        return self._op(Op.NOP, turns=turns)

    @staticmethod
    def _later(instruction, cycles):
        """An instruction that waits so many cycles more."""
        return replace(instruction, wait=instruction.wait + cycles)

    def _scored(self, late):
        """Cycles from the issue of the VXM that takes the scores to that of the first EXP2, but for the beats of an
        instruction that is `late`.

        All scores must be taken, since the VXM has one reducer, and each head's maximum be there.
        """
        blocks = np.arange(1, self.blocks + 1)
        apart = np.array([self.pace.period.at(count) for count in blocks]) if self.pace.rolling else self.head.powers * blocks
        maxima = [self.head.scores * (number + 1) * blocks - number * apart + Vxm.reduce_latency(self.config) - late
                  for number in range(min(self.pace.size, self.heads))]
        return fitted(np.max([self.heads * self.head.scores * blocks, *maxima], axis=0), self.heads * self.head.scores)

    def _wait(self, cycles, passed):
        """A PERIOD and a NOP that end so many cycles after an instruction; `passed`: cycles of that
        instruction.

        The NOP waits for several periods if one would be too long for the tile.
        """
        if self.builder.place.blocks:
            return [replace(self._op(Op.NOP), wait=max(cycles.at(1) - passed - next_issue(self.config, Op.NOP), 0))]
        passed += next_issue(self.config, Op.PERIOD) + next_issue(self.config, Op.NOP)
        fewest = max(-(-cycles.per_block // MOST_TIMES), (cycles.at(self.blocks) >> self.builder.isa.count_bits - 1) + 1)
        turns = next(turns for turns in range(fewest, cycles.per_block + 2) if cycles.per_block % turns == 0)
        if turns == 1:
            return [self._period(cycles + Cycles(-passed, 0, -passed)), self._op(Op.NOP, turns=1)]
        late = max(0, cycles.at(1) - cycles.per_block - passed)
        return [self._period(Cycles(0, cycles.per_block // turns)), replace(self._op(Op.NOP, turns=turns), wait=late)]

    def _until(self, instruction, cycles, last):
        """An instruction, and others behind it, the last of which is `last`; the next issues so many
        cycles after the first."""
        config = self.config
        passed = issue_cycles(config, instruction) + issue_cycles(config, last)
        if cycles.per_block == 0:
            return [replace(instruction, wait=max(cycles.base, cycles.least) - passed), last]
        return [instruction, *self._wait(cycles, passed), last]

    def _period(self, cycles: Cycles) -> Instruction:
        """A PERIOD instruction that sets the period to so many cycles."""
        if self.builder.place.blocks:
            return self._op(Op.PERIOD, value=cycles.at(1))
        return self._op(Op.PERIOD, times=cycles.per_block, value=cycles.base, least=cycles.least)
