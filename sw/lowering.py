"""Lowering: a model's token as instructions, each with its cycle.

A program has four sections. `begin` makes the embedding and the rotations of the position; `layer`, a loop, has the
norm, queries, keys and values, then the attention, then the feed-forward block; `end` has the last norm, the
classifier, and the choice of the token. Within a section a timeline finds the cycles; the attention's depend on how
many blocks of the cache there are, so its instructions wait for so many cycles a block.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ..hdl.integer import ROTARY_LOW, SQUARE_SHIFT
from ..hdl.isa import Address, Function, Instruction, MxmBlocks, Op, Reduce, Sfu, Source, To, VxmBlocks, isa_of
from ..hdl.mem import Mem
from ..hdl.mxm import Mxm
from ..hdl.scalars import Scalars
from ..hdl.timing import MXM_BEAT, VXM_BEAT, mxm_interval, next_issue
from ..hdl.vxm import Vxm
from .layout import CompileError, Layout
from .quantise import FRACTION, QuantisedModel
from .scheduler import lay_out, product, stream_offset
from .timeline import LONG_AGO, Timeline

CONSTANTS, WORDS, KEY, VALUE, ONCE, ONCE_MORE = 1, 2, 3, 4, 5, 6
"""Address registers: the layer's constants and W-RAM words, where this position's key and value go, and two for the
lookups of a token."""
ABSMAX, SQUARES, REDUCED = range(1, 4)
"""Scalar registers of reductions; from REDUCED on, the embedding's factors, one a group, or the maxima of all heads' scores,
and then the sums of their exponentials."""
ADDED = Vxm.LATENCY + 1
"""Cycles from a beat that writes a granule to the first that can add to it."""
AHEAD = 2
"""Periods from a head's EXP2 to its product with the values: its exponentials are there by then."""


@dataclass(frozen=True)
class Code:
    """A lowered model: instructions, the entry being 0, and where a section of the listing begins."""

    instructions: list[Instruction]
    sections: dict[int, str]


def lower(layout: Layout, model: QuantisedModel) -> Code:
    """The program of a token at any position of the layout's context. CompileError if it does not fit the program memory."""
    return Lowering(layout, model).run()


class Lowering:
    """A resident model's program; `marey.sw.sections` makes a streamed one's of the same steps."""

    def __init__(self, layout, model):
        self.layout, self.model, self.config = layout, model, layout.config
        self.shape, self.isa = model.config, isa_of(layout.config)
        self.buffer, self.shifts = layout.buffers, model.shifts
        self.dim, self.hidden = layout.in_granules(layout.dim), layout.in_granules(layout.hidden)
        self.head = layout.in_granules(layout.head)
        self.heads, self.kv_heads = self.shape.n_heads, self.shape.n_kv_heads
        config = self.config
        # Whether the cache's weights are in halves.
        self.wide = {"wide": 1} if layout.halves > 1 else {}
        self.key_granules = layout.key_hop * config.granules_per_word
        self.groups = layout.head // config.cols
        self.value_groups = layout.value_hop * config.beats_per_result
        self.upper = config.scalars // 2
        needed = REDUCED + max(2 * self.heads, layout.embedding_groups)
        if needed > self.upper:
            raise CompileError(f"{self.heads} heads and {layout.embedding_groups} groups of an embedding need {2 * needed} "
                               f"scalar registers, and {config.name} has {config.scalars}: choose a larger configuration")
        # Scalar registers of the scalar unit, in the upper half; QUANTISE leaves `quantiser` and `step`.
        self.quantiser, self.step, self.root, self.scalar, self.reciprocals = range(self.upper, self.upper + 5)
        self.registers = {CONSTANTS: layout.layer_constants, WORDS: 0, KEY: layout.keys * config.granules_per_word,
                          VALUE: layout.values * config.beats_per_result}
        self.keys, self.values = (Address(word * layout.halves, WORDS) for word in (layout.keys, layout.values))

    def run(self):
        begin, loaded = self._begin()
        layer = self._timeline("x", self.dim, self.dim)
        self._attention_inputs(layer)
        self._scores(layer)
        after = self._after_attention()
        end = self._end()
        first = first_issue(layer)
        loop = self._next_layer(after, after.beats() + first - next_issue(Op.LOOP))

        # A section's origin is where the one before it has written its vector, has issued its last and left the VXM.
        loaded = max(loaded, begin.beats("issue") + 1 - first, begin.beats() + 1 - VXM_BEAT - first)
        before, layer = moved(begin), moved(layer, loaded)
        head, target = lay_out(before + layer), len(lay_out([*before, layer[0]])) - 1
        middle = self._attention(first_issue(after))
        tail = lay_out(moved(after) + moved(end, loop + next_issue(Op.LOOP) - first))
        program = head + middle + tail
        at = next(index for index, instruction in enumerate(program) if instruction.op is Op.LOOP)
        program[at] = replace(program[at], operands=program[at].operands | {"target": target})
        if len(program) > self.config.program_depth:
            raise CompileError(f"the program has {len(program)} instructions, and {self.config.name} has room for "
                               f"{self.config.program_depth}: choose a larger configuration")
        return Code(program, {0: "begin", target: "layer", len(head): "attention", len(head) + len(middle): "feed-forward",
                              at + 1: "end"})

    # Helpers

    def _op(self, op, note="", **operands):
        return self.isa.make(op, note=note, **operands)

    def _timeline(self, loaded=None, count=0, last=0):
        """A section; its origin is the first issue, or the last beat of the pass before it that writes `count` granules of
        the buffer `loaded`: the `last` of them in as many cycles, the others before."""
        timeline = Timeline(self.config, self.registers)
        timeline.busy("issue", -1)
        if loaded:
            for unit in ("vxm", "engine0", "engine1", "mxm"):
                timeline.busy(unit, 0)
            written = np.full(count, Vxm.LATENCY)
            written[-last:] -= np.arange(last)[::-1]
            timeline.written(self.buffer[loaded] + np.arange(count), written)
        return timeline

    def _constant(self, name):
        return Address(self.layout.layer[name], CONSTANTS)

    def _factors(self, name):
        return self.buffer["factors"] + self.layout.factors[name]

    def _word(self, name):
        return self.buffer[name] // self.config.granules_per_word

    def _pass(self, note, count, **operands):
        """A pass over `count` granules of MEM."""
        return self._op(Op.VXM, note, **({"engine": 1, "x_step": 1, "inner": count, "to": To.MEM} | operands))

    def _spread(self, note, count, rate, **operands):
        """The ways to spread a pass over the gaps of a stream whose results come every `rate` cycles: for `Timeline.best`."""
        free = rate - self.config.beats_per_result
        found = [self._pass(note, count, **operands)]
        for inner in range(1, min(free, count - 1) + 1):
            if count % inner == 0:
                found.append(self._pass(note, count, **operands | {"inner": inner, "middle": count // inner, "interval": rate}))
        return found

    def _rounds(self, note, heads, rate, **operands):
        """The ways to spread a pass of one round a head, where the values of heads come every `rate` cycles."""
        dense = self._op(Op.VXM, note, **({"engine": 1, "x_step": 1, "to": To.MEM, "outer": heads} | operands))
        return [dense] + [self._op(Op.VXM, note, **(dense.operands | {"interval": rate}))] * (rate >= dense["inner"])

    def _norm(self, timeline, gain, shift, between=None):
        """From x to int8 in `input`, and its scalar. `between` places something first, and returns when it is over."""
        x, gained = self.buffer["x"], self.buffer["gained"]
        timeline.place(self._pass("norm: gain", self.dim, x=x, y=gain, by_vector=1, y_step=1, dst=gained,
                                  shift=shift, reduce=Reduce.ABSMAX, into=ABSMAX))
        after = between() if between else LONG_AGO
        timeline.place(self._op(Op.SFU, "norm: int8 scale", function=Sfu.QUANTISE, a=ABSMAX, into=self.quantiser), after=after)
        timeline.place(self._pass("norm: squares", self.dim, x=x, y=x, by_vector=1, y_step=1, shift=SQUARE_SHIFT,
                                  to=To.NOWHERE, reduce=Reduce.SUM, into=SQUARES), after=after)
        timeline.place(self._op(Op.SFU, "norm: 1/rms", function=Sfu.RSQRT, a=SQUARES, into=self.root,
                                epsilon=self.model.epsilon))
        self._quantise(timeline, "norm", self.dim)
        timeline.place(self._op(Op.SFU, "norm: scalar", function=Sfu.MULTIPLY, a=self.step, b=self.root, into=self.scalar))

    def _quantise(self, timeline, what, count):
        timeline.place(self._pass(f"{what}: to int8", count, x=self.buffer["gained"], scalar=self.quantiser,
                                  dst=self.buffer["input"], narrow=1))

    def _matrix(self, name):
        """A matrix, of a layer or the classifier: where it lies, its operation, its first word, the granule of its factors."""
        if name == "classifier":
            matrix = self.layout.classifier
            return matrix, self.model.linears[name], Address(matrix.word), Address(self.layout.constants[name])
        matrix = self.layout.matrices[name]
        return matrix, self.model.linears[f"layers.0.{name}"], Address(matrix.word, WORDS), self._constant(name)

    def _paced(self, timeline):
        """At the start of a section: the period of products in groups, after which what was written can be added to."""
        if self.layout.groups:
            timeline.place(self._op(Op.PERIOD, value=ADDED))
            timeline.period = ADDED
            timeline.busy("issue", timeline.beats("issue"))

    def _product(self, timeline, name, inputs, dst, factors=None, **vxm):
        """A matrix times the vector in a buffer, taken by the VXM's engine 0, to granules `dst`: the parts of the groups one
        after another, each added to what is there. `vxm` has what becomes of the last, `factors` those that are not the
        matrix's own. Returns the cycles from one result to the next."""
        matrix, linear, word, constant = self._matrix(name)
        groups, inner, granules = matrix.groups, matrix.inner // matrix.groups, matrix.results * self.config.beats_per_result
        interval = mxm_interval(self.config, {"inner": inner, "fetch": 0})
        short = groups > 1 and matrix.results * interval < ADDED
        mxm, take, offset = product(
            self.config, inner=inner, results=matrix.results, act=self._word(inputs), wgt=word, factors=factors or constant,
            rows=groups, note=name, mxm={"wgt_step": matrix.inner, "wgt_hop": inner, "wrap": groups, "paced": int(short)},
            **{"shift": linear.shift, "to": To.MEM, "dst": dst, "y_hop": granules, "paced": int(short)})
        period = ADDED if short else matrix.results * interval
        # All groups but the first add to what is there, and it may, too; the last may have another use besides.
        added = {"plus": 1, "x": dst, "x_step": 1}
        firsts = [0, *([1] if groups > 1 and not vxm.get("plus") else []),
                  *([groups - 1] if groups > 2 and vxm.keys() - added.keys() else [])]
        taken = []
        for first, end in pairwise([*firsts, groups]):
            y = replace(take["y"], offset=take["y"].offset + first * granules)
            more = (added if first or vxm.get("plus") else {}) | (vxm if end == groups else {})
            taken.append(self._op(Op.VXM, name, **take.operands | {"outer": end - first, "y": y} | more))
        timeline.place(mxm, *taken, offsets=(0, *(offset + first * period for first in firsts)))
        return interval

    def _scaled_product(self, timeline, name, inputs, scalar, dst, **vxm):
        """A layer's matrix times a vector that has a scalar, to granules `dst`: its mantissa goes into the matrix's factors
        first, or, if they are of several groups, to the sums."""
        matrix, linear, _, constant = self._matrix(name)
        count = matrix.results * self.config.beats_per_result
        if matrix.groups == 1:
            factors = self._factors(name)
            timeline.best(self._spread(f"{name}: factors", count, matrix.inner, x=constant, scalar=scalar, bare=1, shift=15,
                                       dst=factors))
            self._product(timeline, name, inputs, dst, factors, scalar=scalar, **vxm)
            return
        sums, plus = dst, {}
        if vxm.pop("plus", 0):
            sums, plus = self.buffer["gained"], {"plus": 1, "y": vxm.pop("x"), "y_step": vxm.pop("x_step")}
        rate = self._product(timeline, name, inputs, sums)
        timeline.best(self._spread(f"{name}: scale", count, rate, x=sums, dst=dst, scalar=scalar, shift=linear.rescale, **vxm,
                                   **plus))

    def _index(self, timeline, register, source, right, times, value, bits=0):
        """An INDEX behind what is placed already; returns the first cycle in which its register can be used."""
        at = timeline.place(self._op(Op.INDEX, register=register, source=source, right=right, bits=bits, times=times,
                                     value=value), after=timeline.beats("issue") + 1)
        return at + next_issue(Op.INDEX)

    # Sections

    def _begin(self):
        """The embedding, and the rotation of the position. Returns the timeline, and the last beat that writes x."""
        config, layout = self.config, self.layout
        timeline = self._timeline()
        inner = layout.classifier.inner

        factor, row = layout.constants["embedding"], layout.embedding
        ready = self._index(timeline, ONCE, Source.TOKEN, log2(config.lanes), 1, factor)
        timeline.registers = self.registers | {ONCE: factor, ONCE_MORE: row}
        groups = layout.embedding_groups
        timeline.place(self._op(Op.VXM, "embedding: factor", engine=1, x=Address(0, ONCE), to=To.NOWHERE, reduce=Reduce.PICK,
                                outer=groups, x_hop=layout.in_granules(layout.vocabulary), into=REDUCED), after=ready)
        if config.granules_per_word > 1:
            timeline.place(self._op(Op.PERIOD, value=config.granules_per_word))
        timeline.period = config.granules_per_word
        ready = self._index(timeline, ONCE_MORE, Source.TOKEN, log2(config.cols), inner, row)
        fetch = self._op(Op.MXM, "embedding", fetch=1, wgt=Address(0, ONCE_MORE), outer=inner, wgt_hop=1, wrap=inner,
                         paced=int(config.granules_per_word > 1))
        take = self._op(Op.VXM, "embedding", stream=1, scalar=REDUCED, scalar_hop=1, shift=self.shifts.embedding,
                        dst=self.buffer["x"], dst_hop=self.dim // groups, inner=self.dim // groups, outer=groups, to=To.MEM)
        timeline.place(fetch, take, offsets=(0, Mxm.fetch_latency(config) - Vxm.STREAM_LATENCY), after=ready)
        loaded = timeline.beats("stream") - Vxm.STREAM_LATENCY
        ready = self._rotation(timeline)
        timeline.place(self._op(Op.SET, register=CONSTANTS, value=layout.layer_constants), after=ready)
        timeline.place(self._op(Op.SET, register=WORDS, value=0), after=ready)
        key_granules = layout.head // config.rows * config.granules_per_word
        self._index(timeline, KEY, Source.POSITION, log2(config.cols), key_granules, self.registers[KEY])
        self._index(timeline, VALUE, Source.POSITION, log2(config.rows), config.beats_per_result, self.registers[VALUE])
        return timeline, loaded

    def _rotation(self, timeline):
        """The rotation of the position, into `turn`: cosines and sines in pairs of granules. Angles add up, from two tables.

        Returns the cycle from which on it is issued."""
        layout = self.layout
        low, high = layout.constants["low"], layout.constants["high"]
        self._index(timeline, ONCE, Source.POSITION, 0, self.head, low, bits=log2(ROTARY_LOW))
        ready = self._index(timeline, ONCE_MORE, Source.POSITION, log2(ROTARY_LOW), 4 * self.head, high)
        timeline.registers = self.registers | {ONCE: low, ONCE_MORE: high}
        timeline.place(self._op(Op.VXM, "rotation", engine=1, pair=1, by_vector=1, x=Address(0, ONCE), y=Address(0, ONCE_MORE),
                                y_step=1, dst=self.buffer["turn"], outer=self.head, inner=4, x_hop=1, y_hop=4, dst_hop=2,
                                shift=14, to=To.MEM), after=ready)
        return ready

    def _attention_inputs(self, timeline):
        """From x to this position's queries in `q`, its keys and values in the cache."""
        layout, config = self.layout, self.config
        self._paced(timeline)
        self._norm(timeline, self._constant("attention_gain"), self.shifts.attention_norm)
        self._scaled_product(timeline, "qk", "input", self.scalar, self.buffer["qk"])
        value = {"outer": layout.matrices["v"].results, "dst": Address(0, VALUE), "dst_hop": self.value_groups,
                 "to": To.VALUES, "narrow": 1}
        if self.wide:
            self._scaled_product(timeline, "v", "input", self.scalar, self.buffer["v"], narrow=1)
            self._cache(timeline, [self._op(Op.VXM, "values to the cache", engine=1, x=self.buffer["v"], x_step=1,
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
                       middle=log2(config.block // config.cols), blocks=MxmBlocks.MIDDLE, outer=self.heads, **self.wide)
        row = layout.in_granules(layout.context)
        vxm = self._op(Op.VXM, "scores", stream=1, by_vector=1, y=self._constant("score"), y_hop=1, dst=self.buffer["score"],
                       dst_hop=row, inner=config.beats_per_result, interval=max(beats, config.beats_per_result),
                       middle=log2(config.block // config.cols), blocks=VxmBlocks.MIDDLE, outer=self.heads,
                       shift=self.shifts.score, to=To.MEM, mask=1, reduce=Reduce.MAX, into=REDUCED)
        # At one block, where what it needs is needed soonest; nothing else is to be in the VXM when there are more.
        one = [replace(part, operands=part.operands | {"middle": config.block // config.cols}) for part in (mxm, vxm)]
        offset = stream_offset(config, beats)
        free = timeline.beats() + 1 - VXM_BEAT - offset
        cached = timeline.last("wram.keys") + 1 - MXM_BEAT - Mem.LATENCY
        timeline.place(*one, offsets=(0, offset), after=max(free, cached, timeline.beats("issue") + 1))
        timeline.placed[-2:] = [(cycle, part) for (cycle, _), part in zip(timeline.placed[-2:], (mxm, vxm), strict=True)]

    def _attention(self, first):
        """Exponentials and values, from the issue of the scores' VXM on; the next section's first issue is in its cycle
        `first`.

        Of a head, EXP2 takes a beat a granule of its scores, and its product with the values follows `AHEAD` periods
        later, such that its results find the VXM free: between the EXP2 of one head and that of the next.
        """
        layout, config = self.layout, self.config
        words, row = layout.head // config.rows, layout.in_granules(layout.context)
        maxima, sums = REDUCED, REDUCED + self.heads
        apart = config.beats_per_result
        # Cycles a block: of a head's scores, its EXP2, the dot products of its values.
        scores = config.block // config.cols * max(words * layout.halves, apart)
        powers, inner = config.block // config.lanes, config.block // config.rows * layout.halves
        times, extra = max(powers, inner) + (self.groups - 1) * inner, self.groups * apart
        latency = Mxm.latency(config) - 1 - Vxm.STREAM_LATENCY
        # The first product may not overtake the exponentials, nor the reciprocal of a sum the sum.
        least = -(-max(latency + Vxm.LATENCY + 1, SUM_TO_USE) // AHEAD)
        if powers != inner:
            extra, least = max(extra, least), 0
        period = self._op(Op.PERIOD, times=times, value=extra, least=least)
        # From one instruction to the next with a PERIOD, a NOP and a PERIOD between them.
        between = 2 * next_issue(Op.PERIOD) + 2
        # The maximum of the first head is there before its EXP2, if there is but one block.
        soon = max(0, scores + Vxm.REDUCE_LATENCY - self.heads * scores - between)
        program = [
            self._op(Op.PERIOD, times=scores),
            replace(self._op(Op.NOP, turns=self.heads), wait=soon),
            period,
            self._op(Op.VXM, "exp", engine=1, function=Function.EXP2, x=self.buffer["score"], dst=self.buffer["score"],
                     x_step=1, x_hop=row, dst_hop=row, middle=log2(powers), blocks=VxmBlocks.MIDDLE, outer=self.heads, paced=1,
                     shift=14, narrow=1, mask=1, to=To.MEM, scalar=maxima, scalar_hop=1, reduce=Reduce.SUM, into=sums),
            self._op(Op.PERIOD, times=AHEAD * times + powers - inner, value=AHEAD * extra - latency - between,
                     least=max(0, AHEAD * least - latency - between)),
            self._op(Op.NOP, turns=1),
            period,
            self._op(Op.MXM, "values", act=self._word("score"), act_hop=layout.context // config.rows,
                     wgt=self.values, wgt_step=layout.value_hop * layout.halves,
                     wgt_hop=self.groups * layout.value_hop * layout.halves, wrap=self.kv_heads, inner=log2(inner),
                     blocks=MxmBlocks.INNER, middle=self.groups, outer=self.heads, paced=1, **self.wide),
            replace(self._op(Op.NOP, blocks=log2(inner) + 1), wait=latency - 2 - (Scalars.LATENCY + 1)),
            replace(self._op(Op.SFU, "1/sum", function=Sfu.RECIPROCAL, a=sums, into=self.reciprocals, count=self.heads,
                             paced=1), wait=Scalars.LATENCY),
            self._op(Op.VXM, "values", stream=1, dst=self.buffer["o"], dst_hop=self.head, inner=apart, middle=self.groups,
                     interval=log2(inner), blocks=VxmBlocks.INTERVAL, outer=self.heads, paced=1, scalar=self.reciprocals,
                     scalar_hop=1, shift=-self.shifts.value_gain, narrow=1, to=To.MEM),
        ]
        # To the last beat of the stream, where the next section has its origin.
        rest = VXM_BEAT + apart - 1 + first - 2
        if self.groups > 1:
            program += [self._op(Op.NOP, turns=self.heads - 1),
                        self._op(Op.PERIOD, times=(self.groups - 1) * inner, value=(self.groups - 1) * apart)]
            program.append(replace(self._op(Op.NOP, turns=1), wait=max(0, rest - next_issue(Op.PERIOD) - 1)))
        else:
            program.append(replace(self._op(Op.NOP, turns=self.heads - 1), wait=rest))
        return program

    def _after_attention(self):
        """From attention's output to the next x; the origin is the last beat that writes the former."""
        timeline = self._after_values()
        x = {"plus": 1, "x": self.buffer["x"], "x_step": 1}
        self._paced(timeline)
        self._product(timeline, "wo", "o", self.buffer["x"], **x)
        self._norm(timeline, self._constant("ffn_gain"), self.shifts.ffn_norm)
        self._scaled_product(timeline, "w1", "input", self.scalar, self.buffer["gate"])
        self._scaled_product(timeline, "w3", "input", self.scalar, self.buffer["up"])
        self._activate(timeline)
        self._scaled_product(timeline, "w2", "input", self.step, self.buffer["x"], **x)
        return timeline

    def _after_values(self):
        """A section whose origin is the last beat that writes attention's output."""
        return self._timeline("o", self.layout.in_granules(self.layout.heads), self.config.beats_per_result)

    def _activate(self, timeline):
        """From `gate` and `up` to int8 in `input`, and its scalar."""
        config, rate = self.config, self.layout.matrices["w1"].inner // self.layout.matrices["w1"].groups
        gained, gate, up = (self.buffer[name] for name in ("gained", "gate", "up"))
        timeline.best(self._spread("silu", self.hidden, rate, function=Function.SILU, x=gate, dst=gate, shift=15))
        spread = {"inner": config.beats_per_result, "middle": self.hidden // config.beats_per_result, "interval": rate}
        hidden = {"x": gate, "y": up, "y_step": 1, "by_vector": 1, "dst": gained, "shift": self.shifts.hidden,
                  "reduce": Reduce.ABSMAX, "into": ABSMAX}
        timeline.best([self._pass("silu(gate) * up", self.hidden, **hidden),
                       self._pass("silu(gate) * up", self.hidden, **hidden | spread)])
        timeline.place(self._op(Op.SFU, "hidden: int8 scale", function=Sfu.QUANTISE, a=ABSMAX, into=self.quantiser))
        self._quantise(timeline, "hidden", self.hidden)

    def _next_layer(self, timeline, loop):
        """The address registers' steps, and the loop over layers, in this cycle or after; returns its cycle."""
        layout, config = self.layout, self.config
        at = max(cycle for cycle, _ in timeline.placed) + 1
        for register, step in ((CONSTANTS, layout.constants_stride), (WORDS, layout.words_stride),
                               (KEY, layout.cache_stride * config.granules_per_word),
                               (VALUE, layout.cache_stride * config.beats_per_result)):
            at = timeline.place(self._op(Op.ADD, register=register, value=step), after=at)
        return timeline.place(self._op(Op.LOOP, count=self.shape.n_layers), after=loop)

    def _end(self):
        """The last norm, the classifier, the choice; the origin is the last beat that writes x."""
        layout = self.layout
        timeline = self._timeline("x", self.dim, self.dim)
        self._paced(timeline)

        def stop():
            done = max(timeline.beats() + Vxm.REDUCE_LATENCY - 1, 0)
            return timeline.place(self._op(Op.HALT, if_prompt=1), after=done) + next_issue(Op.HALT)

        self._norm(timeline, layout.constants["final_gain"], self.shifts.final_norm, between=stop)
        self._product(timeline, "classifier", "input", self.buffer["logits"], reduce=Reduce.ARGMAX)
        timeline.place(self._pass("logits' scale", 1, x=layout.constants["one"], scalar=self.scalar,
                                  shift=self.shifts.logit_scale, dst=self.buffer["scale"]))
        chosen = timeline.place(self._op(Op.TOKEN, target=0), after=max(cycle for cycle, _ in timeline.placed) + 1)
        timeline.place(self._op(Op.HALT), after=chosen + next_issue(Op.TOKEN))
        return timeline


SUM_TO_USE = Vxm.REDUCE_LATENCY + 1 + Scalars.LATENCY + 1
"""Cycles from the last beat of a reduction to the first that can use its reciprocal."""


def log2(value: int) -> int:
    """The logarithm of a power of two."""
    return value.bit_length() - 1


def first_issue(timeline: Timeline) -> int:
    """The cycle of a section's first issue."""
    return min(cycle for cycle, _ in timeline.placed)


def moved(timeline: Timeline, origin: int = 0) -> list[tuple[int, Instruction]]:
    """What a timeline has placed, in order, on the axis of another that has its `origin` there."""
    return sorted(((cycle + origin, instruction) for cycle, instruction in timeline.placed), key=lambda placed: placed[0])
