"""Attention: the position's rotation, queries, keys and values; scores, softmax and values over the KV cache.

Its cycles depend on how many blocks of the cache there are. So its instructions wait for so many cycles a block, by
PERIOD and NOP, and no timeline places them: the rules are proved for every number of blocks when a program is made.
"""

from dataclasses import replace

from ...hdl.mxm.mxm import Mxm
from ...hdl.scalars.scalars import Scalars
from ...hdl.spec.integer import ROTARY_LOW
from ...hdl.spec.isa import Address, Function, MxmBlocks, Op, Reduce, Sfu, Source, To, VxmBlocks
from ...hdl.timing import mxm_beat, next_issue, sfu_beat, vxm_beat
from ...hdl.vxm.vxm import Vxm
from ..quant.model import FRACTION
from .passes import KEY, ONCE, ONCE_MORE, REDUCED, VALUE, Passes, log2
from .scheduler import stream_offset
from .timeline import LONG_AGO

BLOCKS = 8
"""The first of the address registers that a compact tile has for multiples of the number of blocks."""
AHEAD = 2
"""Periods from a head's EXP2 to its product with the values: its exponentials are there by then."""


class Attention(Passes):
    """The steps of attention, on top of those that all sections share."""

    def __init__(self, *model):
        super().__init__(*model)
        config = self.config
        scores, powers, inner = self._beats_a_block()
        needed = {config.block // config.cols, powers, inner, self.heads * scores, self.heads * powers,
                  (self.heads * self.groups - 1) * inner} - {0}
        # In a compact tile: address registers, by what they hold for each block.
        self.multiples = dict(zip(sorted(needed), range(BLOCKS, BLOCKS + len(needed)), strict=True)) if config.compact else {}

    def _count_blocks(self, timeline):
        """The multiples of the number of blocks, where there are registers for them."""
        right = log2(self.config.block)
        for times, register in self.multiples.items():
            self._index(timeline, register, Source.POSITION, right, times, times, self._bits(self.layout.context, right))

    def _in_blocks(self, which, times):
        """The operands that make a count of an MXM or a VXM so many times the number of blocks."""
        name = which.name.lower()
        return {name: Address(0, self.multiples[times])} if self.multiples else {name: log2(times), "blocks": which}

    def _rotation(self, timeline):
        """The rotation of the position, from two tables. Returns the cycle from which on it is issued."""
        layout = self.layout
        low, high = layout.constants["low"], layout.constants["high"]
        self._index(timeline, ONCE, Source.POSITION, 0, self.head, low, bits=log2(ROTARY_LOW))
        ready = self._index(timeline, ONCE_MORE, Source.POSITION, log2(ROTARY_LOW), 4 * self.head, high,
                            self._bits(layout.context, log2(ROTARY_LOW)))
        timeline.registers = self.registers | {ONCE: low, ONCE_MORE: high}
        self._add_angles(timeline, Address(0, ONCE), Address(0, ONCE_MORE), ready)
        return ready

    def _add_angles(self, timeline, low, high, after=LONG_AGO):
        """Rotations of two angles make that of their sum, into `turn`: cosines and sines in pairs of granules."""
        timeline.place(self._op(Op.VXM, "rotation", **self.aside, pair=1, by_vector=1, x=low, y=high, y_step=1,
                                dst=self.buffer["turn"], outer=self.head, inner=4, x_hop=1, y_hop=4, dst_hop=2, shift=14,
                                to=To.MEM), after=after)

    def _attention_inputs(self, timeline):
        """From x to this position's queries in `q`, its keys and values in the cache."""
        layout, config = self.layout, self.config
        self._paced(timeline)
        self._norm(timeline, "attention_norm", self.shifts["attention_norm"])
        self._scaled_product(timeline, "qk", "input", self.scalar, self.buffer["qk"])
        value = {"outer": layout.matrices["v"].results, "dst": Address(0, VALUE), "dst_hop": self.value_groups,
                 "to": To.VALUES, "narrow": 1}
        if self.wide or config.wram_ports == 1:
            # Halves are written one after the other, and one port while no product is read.
            self._scaled_product(timeline, "v", "input", self.scalar, self.buffer["v"], narrow=1)
            self._cache(timeline, [self._op(Op.VXM, "values to the cache", **self.aside, x=self.buffer["v"], x_step=1,
                                            x_hop=config.beats_per_result, inner=config.beats_per_result, **value)])
        else:
            self._scaled_product(timeline, "v", "input", self.scalar, middle=1, y_hop=config.beats_per_result, **value)
        self._turn(timeline)

    def _turn(self, timeline, after=LONG_AGO):
        """From `qk` to this position's queries in `q`, and its keys in the cache, `after` the cache's registers are set."""
        layout, raw, turn = self.layout, self.buffer["qk"], self.buffer["turn"]
        matrix, queries = layout.matrices["qk"], layout.in_granules(layout.heads)
        rate = matrix.inner // matrix.groups
        per_head = self.groups * rate
        turned = {"pair": 1, "by_vector": 1, "y": turn, "y_step": 1, "inner": 2 * self.head, "x_hop": self.head}
        for candidates in (
                self._rounds("turn keys", self.kv_heads, per_head, **turned, x=raw + queries, dst=self.buffer["k"],
                             dst_hop=self.head, shift=14),
                self._rounds("keys", self.kv_heads, per_head, x=self.buffer["k"], x_hop=self.head, inner=self.head, plus=1,
                             y=self._constant("key_offset"), y_step=1, y_hop=self.head, dst=Address(0, KEY),
                             dst_hop=self.key_granules, shift=FRACTION, narrow=1, to=To.KEYS),
                self._rounds("turn queries", self.heads, per_head, **turned, x=raw, dst=self.buffer["q"], dst_hop=self.head,
                             shift=14 + FRACTION, narrow=1)):
            if candidates[0]["to"] is To.KEYS:
                self._cache(timeline, candidates, after)
            else:
                timeline.best(candidates, after=after)

    def _cache(self, timeline, candidates, after=LONG_AGO):
        """Keys or values into the cache; where weights have 4 bits the low halves, and then the high ones."""
        for half in ({}, {"high": 1}) if self.wide else ({},):
            timeline.best([replace(candidate, operands=candidate.operands | half) for candidate in candidates], after=after)

    def _scores(self, timeline):
        """The scores of all heads, at the end of a section: they take as long as there are blocks."""
        layout, config = self.layout, self.config
        words = layout.head // config.rows
        beats = words * layout.halves
        mxm = self._op(Op.MXM, "scores", act=self._word("q"), act_hop=words, wgt=self.keys, wgt_step=beats,
                       wgt_hop=layout.key_hop * layout.halves, wrap=self.kv_heads, inner=beats,
                       outer=self.heads, **self._in_blocks(MxmBlocks.MIDDLE, config.block // config.cols), **self.wide)
        row = layout.in_granules(layout.context)
        vxm = self._op(Op.VXM, "scores", stream=1, by_vector=1, y=self._constant("score"), y_hop=1, dst=self.buffer["score"],
                       dst_hop=row, inner=config.beats_per_result, interval=max(beats, config.beats_per_result),
                       outer=self.heads, **self._in_blocks(VxmBlocks.MIDDLE, config.block // config.cols),
                       shift=self.shifts["scores"], to=To.MEM, mask=1, reduce=Reduce.MAX, into=REDUCED)
        # At one block, where what it needs is needed soonest; nothing else is to be in the VXM when there are more.
        one = [replace(part, operands=part.operands | {"middle": config.block // config.cols}) for part in (mxm, vxm)]
        offset = stream_offset(config, beats)
        free = timeline.beats() + 1 - vxm_beat(config) - offset
        # Values are read much later, but with one port written while nothing is read.
        written = ("wram.keys", "wram.values") if config.wram_ports == 1 else ("wram.keys",)
        cached = max(map(timeline.last, written)) + 1 - mxm_beat(config) - Mxm.read_latency(config)
        timeline.place(*one, offsets=(0, offset), after=max(free, cached, timeline.beats("issue") + 1))
        timeline.placed[-2:] = [(cycle, part) for (cycle, _), part in zip(timeline.placed[-2:], (mxm, vxm), strict=True)]

    def _attention(self, first):
        """Exponentials and values, from the issue of the scores' VXM on; the next section's first issue is in its cycle
        `first`."""
        return (self._paced_attention if self.config.engines > 1 else self._attention_in_turns)(first)

    def _exponentials(self, **how):
        """EXP2 of all heads' scores, which leaves a sum of each."""
        row = self.layout.in_granules(self.layout.context)
        return self._op(Op.VXM, "exp", **self.aside, function=Function.EXP2, x=self.buffer["score"], dst=self.buffer["score"],
                        x_step=1, x_hop=row, dst_hop=row, outer=self.heads,
                        **self._in_blocks(VxmBlocks.MIDDLE, self.config.block // self.config.lanes),
                        shift=14, narrow=1, mask=1, to=To.MEM, scalar=REDUCED, scalar_hop=1,
                        reduce=Reduce.SUM, into=REDUCED + self.heads, **how)

    def _reciprocals(self):
        """Of the sums of all heads, a period apart."""
        return self._op(Op.SFU, "1/sum", function=Sfu.RECIPROCAL, a=REDUCED + self.heads, into=self.reciprocals,
                        count=self.heads)

    def _values(self, inner, **how):
        """The products of all heads' exponentials with the values, `inner` beats a block: MXM and VXM."""
        layout, config = self.layout, self.config
        mxm = self._op(Op.MXM, "values", act=self._word("score"), act_hop=layout.context // config.rows, wgt=self.values,
                       wgt_step=layout.value_hop * layout.halves, wgt_hop=self.groups * layout.value_hop * layout.halves,
                       wrap=self.kv_heads, middle=self.groups, outer=self.heads,
                       **self._in_blocks(MxmBlocks.INNER, inner), **self.wide, **how)
        vxm = self._op(Op.VXM, "values", stream=1, dst=self.buffer["o"], dst_hop=self.head, inner=config.beats_per_result,
                       middle=self.groups, outer=self.heads, **self._in_blocks(VxmBlocks.INTERVAL, inner),
                       scalar=self.reciprocals, scalar_hop=1, shift=-self.shifts["values"], narrow=1, to=To.MEM, **how)
        return mxm, vxm

    def _beats_a_block(self):
        """Cycles a block of a head's scores, of its EXP2, and of the dot products of its values."""
        config, halves = self.config, self.layout.halves
        scores = config.block // config.cols * max(self.layout.head // config.rows * halves, config.beats_per_result)
        return scores, config.block // config.lanes, config.block // config.rows * halves

    def _attention_in_turns(self, first):
        """In a compact tile, with one engine of the VXM: all exponentials, and then all values."""
        config, apart = self.config, self.config.beats_per_result
        mxm_next, vxm_next, sfu_next, pause = (next_issue(config, op) for op in (Op.MXM, Op.VXM, Op.SFU, Op.NOP))
        scores, powers, inner = self._beats_a_block()
        turns, results, heads = self.heads - 1, self.heads * self.groups - 1, self.heads
        mxm, vxm = self._values(inner)
        # From the issue of the MXM to that of the VXM, but for the first product's beats.
        offset = stream_offset(config, 0)
        alone = Vxm.entering_cycles(config) + Vxm.leaving_cycles(config)
        # From the issue of the exponentials to that of the reciprocals, but for the former's beats: a sum is there before its
        # reciprocal begins.
        busy, least = Scalars.LATENCY + 1, vxm_next + next_issue(config, Op.PERIOD) + pause
        summed = max(least, vxm_beat(config) + Vxm.reduce_latency(config) - sfu_beat(config) - turns * min(busy, powers))
        # The exponentials are there before the product begins, and reciprocals, which may be slower than it, before they are
        # needed.
        late = max(vxm_beat(config) + Vxm.latency(config) - mxm_beat(config) - summed,
                   busy + sfu_beat(config) - vxm_beat(config) + turns * max(0, busy - self.groups * inner) - offset - inner)
        rest = vxm_beat(config) + apart - 1 + first + results * max(0, apart - inner) - vxm_next - pause
        return [
            self._pause(heads * scores, alone - vxm_next - pause),
            self._exponentials(),
            self._op(Op.PERIOD, value=busy),
            self._pause(heads * powers, summed - least),
            replace(self._reciprocals(), wait=max(0, late - sfu_next)),
            mxm,
            self._pause(inner, offset - mxm_next - pause),
            vxm,
            self._pause(results * inner, rest),
        ]

    def _pause(self, times, wait):
        """A NOP of so many cycles a block, and so many besides."""
        return replace(self._op(Op.NOP, register=self.multiples.get(times, 0)), wait=max(0, wait))

    def _paced_attention(self, first):
        """Of a head, EXP2 takes a beat a granule of its scores, and its product with the values follows `AHEAD` periods
        later, such that its results find the VXM free: between the EXP2 of one head and that of the next.
        """
        config, apart = self.config, self.config.beats_per_result
        scores, powers, inner = self._beats_a_block()
        times, extra = max(powers, inner) + (self.groups - 1) * inner, self.groups * apart
        latency = Mxm.latency(config) - 1 - Vxm.STREAM_LATENCY
        # From the last beat of a reduction to the first that can use its reciprocal.
        sum_to_use = Vxm.reduce_latency(config) + 1 + Scalars.LATENCY + 1
        # The first product may not overtake the exponentials, nor the reciprocal of a sum the sum.
        least = -(-max(latency + Vxm.latency(config) + 1, sum_to_use) // AHEAD)
        if powers != inner:
            extra, least = max(extra, least), 0
        period = self._op(Op.PERIOD, times=times, value=extra, least=least)
        # From one instruction to the next with a PERIOD, a NOP and a PERIOD between them.
        issue = next_issue(config, Op.NOP)
        between = 2 * next_issue(config, Op.PERIOD) + 2 * issue
        # The maximum of the first head is there before its EXP2, if there is but one block.
        soon = max(0, scores + Vxm.reduce_latency(config) - self.heads * scores - between)
        mxm, vxm = self._values(inner, paced=1)
        program = [
            self._op(Op.PERIOD, times=scores),
            replace(self._op(Op.NOP, turns=self.heads), wait=soon),
            period,
            self._exponentials(paced=1),
            self._op(Op.PERIOD, times=AHEAD * times + powers - inner, value=AHEAD * extra - latency - between,
                     least=max(0, AHEAD * least - latency - between)),
            self._op(Op.NOP, turns=1),
            period,
            mxm,
            replace(self._op(Op.NOP, blocks=log2(inner) + 1), wait=latency - 3 * issue + 1 - (Scalars.LATENCY + 1)),
            replace(self._reciprocals(), wait=Scalars.LATENCY),
            vxm,
        ]
        # To the last beat of the stream, where the next section has its origin.
        rest = vxm_beat(config) + apart - 1 + first - 2 * issue
        if self.groups > 1:
            program += [self._op(Op.NOP, turns=self.heads - 1),
                        self._op(Op.PERIOD, times=(self.groups - 1) * inner, value=(self.groups - 1) * apart)]
            wait = max(0, rest - next_issue(config, Op.PERIOD) - issue)
            program.append(replace(self._op(Op.NOP, turns=1), wait=wait))
        else:
            program.append(replace(self._op(Op.NOP, turns=self.heads - 1), wait=rest))
        return program

    def _after_values(self):
        """A section whose origin is the last beat that writes attention's output."""
        return self._timeline("o", self.layout.in_granules(self.layout.heads), self.config.beats_per_result)
