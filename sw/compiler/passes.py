"""What the sections of a program are made of: passes over vectors in MEM, norms, and products with matrices.

Each method places instructions on the timeline of a section, which finds their cycles.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from ...hdl.spec.integer import SQUARE_SHIFT
from ...hdl.spec.isa import Address, Op, Reduce, Sfu, To, isa_of
from ...hdl.timing import issue_cycles, mxm_interval
from ...hdl.vxm.vxm import Vxm
from ..quant.model import QuantisedModel
from .layout import CompileError, Layout
from .scheduler import product
from .timeline import LONG_AGO, Timeline

CONSTANTS, WORDS, KEY, VALUE, ONCE, ONCE_MORE = 1, 2, 3, 4, 5, 6
"""Address registers: the layer's constants and W-RAM words, where this position's key and value go, and two for the
lookups of a token."""
ABSMAX, SQUARES, REDUCED = range(1, 4)
"""Scalar registers of reductions; from REDUCED on, the embedding's factors, one a group, or the maxima of all heads' scores,
and then the sums of their exponentials."""


def log2(value: int) -> int:
    """The logarithm of a power of two."""
    return value.bit_length() - 1


class Passes:
    """A model on a layout, what it is called there, and the steps that all its sections share."""

    def __init__(self, layout: Layout, model: QuantisedModel):
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
        # What a pass over MEM has to itself, while the first engine takes a stream.
        self.aside = {"engine": 1} if config.engines > 1 else {}
        # Cycles from a beat that writes a granule to the first that can add to it.
        self.added = Vxm.latency(config) + 1
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

    def _op(self, op, note="", **operands):
        return self.isa.make(op, note=note, **operands)

    def _timeline(self, loaded=None, count=0, last=0):
        """A section; its origin is the first issue, or the last beat of the pass before it that writes `count` granules of
        the buffer `loaded`: the `last` of them in as many cycles, the others before. It may have measured them, too."""
        timeline = Timeline(self.config, self.registers)
        timeline.busy("issue", -1)
        if loaded:
            for unit in ("vxm", "mxm"):
                timeline.busy(unit, 0)
            for engine in range(self.config.engines):
                timeline.busy(f"engine{engine}", Vxm.leaving_cycles(self.config))
            written = np.full(count, Vxm.latency(self.config))
            written[-last:] -= np.arange(last)[::-1]
            timeline.written("MEM granule", self.buffer[loaded] + np.arange(count), written)
            timeline.written("scalar", ABSMAX, Vxm.reduce_latency(self.config))
        return timeline

    def _constant(self, name):
        if name in self.layout.constants:
            return Address(self.layout.constants[name])
        return Address(self.layout.layer[name], CONSTANTS)

    def _factors(self, name):
        return self.buffer["factors"] + self.layout.factors[name]

    def _word(self, name):
        word, within = divmod(self.buffer[name], self.config.granules_per_word)
        assert not within, name
        return word

    def _pass(self, note, count, **operands):
        """A pass over `count` granules of MEM."""
        return self._op(Op.VXM, note, **(self.aside | {"x_step": 1, "inner": count, "to": To.MEM} | operands))

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
        dense = self._op(Op.VXM, note, **(self.aside | {"x_step": 1, "to": To.MEM, "outer": heads} | operands))
        return [dense] + [self._op(Op.VXM, note, **(dense.operands | {"interval": rate}))] * (rate >= dense["inner"])

    def _measured(self, *norms):
        """How what writes x for norms reduces it: if one has no gains, to its largest value."""
        return {"reduce": Reduce.ABSMAX, "into": ABSMAX} if self.layout.uniform.intersection(norms) else {}

    def _norm(self, timeline, name, shift, between=None):
        """From x to int8 in `input`, and its scalar; `name` is the gain's, and if there is none, x has been measured. `between`
        places something first, and returns when it is over."""
        x, gained = self.buffer["x"], self.buffer["gained"]
        if name in self.layout.uniform:
            gained = x
        else:
            timeline.place(self._pass("norm: gain", self.dim, x=x, y=self._constant(name), by_vector=1, y_step=1, dst=gained,
                                      shift=shift, reduce=Reduce.ABSMAX, into=ABSMAX))
        after = between() if between else LONG_AGO
        timeline.place(self._op(Op.SFU, "norm: int8 scale", function=Sfu.QUANTISE, a=ABSMAX, into=self.quantiser), after=after)
        timeline.place(self._pass("norm: squares", self.dim, x=x, y=x, by_vector=1, y_step=1, shift=SQUARE_SHIFT,
                                  to=To.NOWHERE, reduce=Reduce.SUM, into=SQUARES), after=after)
        timeline.place(self._op(Op.SFU, "norm: 1/rms", function=Sfu.RSQRT, a=SQUARES, into=self.root,
                                epsilon=self.model.epsilon))
        self._quantise(timeline, "norm", gained, self.dim)
        timeline.place(self._op(Op.SFU, "norm: scalar", function=Sfu.MULTIPLY, a=self.step, b=self.root, into=self.scalar))

    def _quantise(self, timeline, what, source, count):
        timeline.place(self._pass(f"{what}: to int8", count, x=source, scalar=self.quantiser, dst=self.buffer["input"],
                                  narrow=1))

    def _matrix(self, name):
        """A matrix, of a layer or the classifier: where it lies, its operation, its first word, the granule of its factors."""
        if name == "classifier":
            matrix = self.layout.classifier
            return matrix, self.model.linears[name], Address(matrix.word), self._constant(name)
        matrix = self.layout.matrices[name]
        return matrix, self.model.linears[f"layers.0.{name}"], Address(matrix.word, WORDS), self._constant(name)

    def _paced(self, timeline):
        """At the start of a section: the period of products in groups, after which what was written can be added to."""
        if self.layout.groups:
            timeline.place(self._op(Op.PERIOD, value=self.added))
            timeline.period = self.added
            timeline.busy("issue", timeline.beats("issue"))

    def _product(self, timeline, name, inputs, dst, factors=None, **vxm):
        """A matrix times the vector in a buffer, taken by the VXM's engine 0, to granules `dst`: the parts of the groups one
        after another, each added to what is there. `vxm` has what becomes of the last, `factors` those that are not the
        matrix's own. Returns the cycles from one result to the next."""
        matrix, linear, word, constant = self._matrix(name)
        groups, inner, granules = matrix.groups, matrix.inner // matrix.groups, matrix.results * self.config.beats_per_result
        interval = mxm_interval(self.config, {"inner": inner, "fetch": 0})
        short = groups > 1 and matrix.results * interval < self.added
        mxm, take, offset = product(
            self.config, inner=inner, results=matrix.results, act=self._word(inputs), wgt=word, factors=factors or constant,
            rows=groups, note=name, mxm={"wgt_step": matrix.inner, "wgt_hop": inner, "wrap": groups, "paced": int(short)},
            **{"shift": linear.shift, "to": To.MEM, "dst": dst, "y_hop": granules, "paced": int(short)})
        period = self.added if short else matrix.results * interval
        # All groups but the first add to what is there, and it may, too; the last may have another use besides.
        added = {"plus": 1, "x": dst, "x_step": 1}
        firsts = sorted({0} | ({1} if groups > 1 and not vxm.get("plus") else set())
                        | ({groups - 1} if vxm.keys() - added.keys() else set()))
        alike = {"y_step": 0, "y_hop": 0} if name in self.layout.uniform else {}
        parts, taken = list(pairwise([*firsts, groups])), []
        for first, end in parts:
            y = replace(take["y"], offset=take["y"].offset + first * granules)
            more = (added if first or vxm.get("plus") else {}) | (vxm if end == groups else {}) | alike
            taken.append(self._op(Op.VXM, name, **take.operands | {"outer": end - first, "y": y} | more))
        if self.config.engines > 1:
            timeline.place(mxm, *taken, offsets=(0, *(offset + first * period for first in firsts)))
            return interval
        # With one engine a part's VXM leaves before the next one's comes, and so each has an MXM of its own.
        for (first, end), take in zip(parts, taken, strict=True):
            act, wgt = (replace(mxm[name], offset=mxm[name].offset + first * inner) for name in ("act", "wgt"))
            part = self._op(Op.MXM, name, **mxm.operands | {"act": act, "wgt": wgt, "outer": end - first})
            timeline.place(part, take, offsets=(0, offset))
        return interval

    def _scaled_product(self, timeline, name, inputs, scalar, dst, **vxm):
        """A layer's matrix times a vector that has a scalar, to granules `dst`: its mantissa goes into the matrix's factors
        first, or, if they are of several groups, to the sums."""
        matrix, linear, _, constant = self._matrix(name)
        count = matrix.results * self.config.beats_per_result
        if matrix.groups == 1:
            factors, count = self._factors(name), 1 if name in self.layout.uniform else count
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
        index = self._op(Op.INDEX, register=register, source=source, right=right, bits=bits, times=times, value=value)
        return timeline.place(index, after=timeline.beats("issue") + 1) + issue_cycles(self.config, index)

    def _bits(self, count, right):
        """The bits from `right` on of numbers below `count`, as a compact tile takes two cycles for each; elsewhere 0: all."""
        return max(1, (count - 1 >> right).bit_length()) if self.config.compact else 0
