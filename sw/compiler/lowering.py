"""Lowering: a model's token as instructions, each with its cycle.

A program has four sections. `begin` makes the embedding and the rotations of the position; `layer`, a loop, has the
norm, queries, keys and values, then the attention, then the feed-forward block; `end` has the last norm, the
classifier, and the choice of the token. Within a section a timeline finds the cycles.
"""

from dataclasses import dataclass, replace

from ...hdl.mxm.mxm import Mxm
from ...hdl.sequencer.sequencer import Sequencer
from ...hdl.spec.isa import Address, Function, Instruction, Op, Reduce, Sfu, Source, To
from ...hdl.timing import next_issue, vxm_beat
from ...hdl.vxm.vxm import Vxm
from ..quant.model import QuantisedModel
from .attention import Attention
from .layout import CompileError, Layout
from .passes import ABSMAX, CONSTANTS, KEY, ONCE, ONCE_MORE, REDUCED, VALUE, WORDS, log2
from .scheduler import lay_out, take_offset
from .timeline import Timeline


@dataclass(frozen=True)
class Code:
    """A lowered model: instructions, the entry being 0, and where a section of the listing begins."""

    instructions: list[Instruction]
    sections: dict[int, str]


def lower(layout: Layout, model: QuantisedModel) -> Code:
    """The program of a token at any position of the layout's context. CompileError if it does not fit the program memory."""
    return Lowering(layout, model).run()


class Lowering(Attention):
    """A resident model's program; `marey.sw.compiler.sections` makes a streamed one's of the same steps."""

    def run(self):
        begin, loaded = self._begin()
        layer = self._timeline("x", self.dim, self.dim)
        self._attention_inputs(layer)
        self._scores(layer)
        after = self._after_attention()
        end = self._end()
        first = first_issue(layer)
        loop = self._next_layer(after, after.beats() + first - next_issue(self.config, Op.LOOP))

        # A section's origin is where the one before it has written its vector, has issued its last and left the VXM.
        left = begin.beats() + Vxm.leaving_cycles(self.config)
        entered = vxm_beat(self.config) - Vxm.entering_cycles(self.config)
        loaded = max(loaded, begin.beats("issue") + 1 - first, left + 1 - entered - first)
        before, layer = moved(begin), moved(layer, loaded)
        head, target = lay_out(self.config, before + layer), len(lay_out(self.config, [*before, layer[0]])) - 1
        middle = self._attention(first_issue(after))
        tail = lay_out(self.config, moved(after) + moved(end, loop + next_issue(self.config, Op.LOOP) - first_issue(end)
                                                         + self._behind_loop(first_issue(end) - first)))
        program = head + middle + tail
        at = next(index for index, instruction in enumerate(program) if instruction.op is Op.LOOP)
        program[at] = replace(program[at], operands=program[at].operands | {"target": target})
        if len(program) > self.config.program_depth:
            raise CompileError(f"the program has {len(program)} instructions, and {self.config.name} has room for "
                               f"{self.config.program_depth}: choose a larger configuration")
        return Code(program, {0: "begin", target: "layer", len(head): "attention", len(head) + len(middle): "feed-forward",
                              at + 1: "end"})

    def _behind_loop(self, cycles):
        """At least so many cycles behind a LOOP, which has no wait of its own: none, or what a NOP takes."""
        return max(cycles, next_issue(self.config, Op.NOP)) if cycles > 0 else 0

    def _begin(self):
        """The embedding, and the rotation of the position. Returns the timeline, and the last beat of the former."""
        config, layout = self.config, self.layout
        timeline = self._timeline()
        loaded = self._look_up(timeline)
        ready = self._rotation(timeline)
        timeline.place(self._op(Op.SET, register=CONSTANTS, value=layout.layer_constants), after=ready)
        timeline.place(self._op(Op.SET, register=WORDS, value=0), after=ready)
        key_granules = layout.head // config.rows * config.granules_per_word
        for register, right, times in ((KEY, log2(config.cols), key_granules),
                                       (VALUE, log2(config.rows), config.beats_per_result)):
            self._index(timeline, register, Source.POSITION, right, times, self.registers[register],
                        self._bits(layout.context, right))
        self._count_blocks(timeline)
        return timeline, loaded

    def _look_up(self, timeline):
        """The token's embedding, into x; returns the last beat that writes or measures it."""
        config, layout = self.config, self.layout
        factor, row, inner = layout.constants["embedding"], layout.embedding, layout.classifier.inner
        timeline.registers = self.registers | {ONCE: factor, ONCE_MORE: row}
        groups, measured = layout.embedding_groups, self._measured("attention_norm")
        if "embedding" in layout.uniform:
            factors = {"by_vector": 1, "y": factor}
        else:
            factors = {"scalar": REDUCED, "scalar_hop": 1}
            ready = self._index(timeline, ONCE, Source.TOKEN, log2(config.lanes), 1, factor,
                                self._bits(self.shape.vocab_size, log2(config.lanes)))
            timeline.place(self._op(Op.VXM, "embedding: factor", **self.aside, x=Address(0, ONCE), reduce=Reduce.PICK,
                                    outer=groups, x_hop=layout.in_granules(layout.vocabulary), into=REDUCED), after=ready)
        if config.granules_per_word > 1:
            timeline.place(self._op(Op.PERIOD, value=config.granules_per_word))
        timeline.period = config.granules_per_word
        ready = self._index(timeline, ONCE_MORE, Source.TOKEN, log2(config.cols), inner, row,
                            self._bits(self.shape.vocab_size, log2(config.cols)))
        fetch = self._op(Op.MXM, "embedding", fetch=1, wgt=Address(0, ONCE_MORE), outer=inner, wgt_hop=1, wrap=inner,
                         paced=int(config.granules_per_word > 1))
        take = self._op(Op.VXM, "embedding", stream=1, shift=self.shifts["embedding"], dst=self.buffer["x"], to=To.MEM,
                        dst_hop=self.dim // groups, inner=self.dim // groups, outer=groups,
                        **factors | (measured if groups == 1 else {}))
        timeline.place(fetch, take, offsets=(0, take_offset(config, Mxm.fetch_latency(config))), after=ready)
        if measured and groups > 1:
            timeline.place(self._pass("norm: largest", self.dim, x=self.buffer["x"], to=To.NOWHERE, **measured))
            return timeline.beats()
        return timeline.beats("stream") - Vxm.STREAM_LATENCY

    def _after_attention(self):
        """From attention's output to the next x; the origin is the last beat that writes the former."""
        timeline = self._after_values()
        x = {"plus": 1, "x": self.buffer["x"], "x_step": 1}
        self._paced(timeline)
        self._product(timeline, "wo", "o", self.buffer["x"], **x, **self._measured("ffn_norm"))
        self._norm(timeline, "ffn_norm", self.shifts["ffn_norm"])
        self._scaled_product(timeline, "w1", "input", self.scalar, self.buffer["gate"])
        self._scaled_product(timeline, "w3", "input", self.scalar, self.buffer["up"])
        self._activate(timeline)
        self._scaled_product(timeline, "w2", "input", self.step, self.buffer["x"], **x,
                             **self._measured("attention_norm", "final_norm"))
        return timeline

    def _activate(self, timeline):
        """From `gate` and `up` to int8 in `input`, and its scalar."""
        config, rate = self.config, self.layout.matrices["w1"].inner // self.layout.matrices["w1"].groups
        gate, up = self.buffer["gate"], self.buffer["up"]
        timeline.best(self._spread("silu", self.hidden, rate, function=Function.SILU, x=gate, dst=gate, shift=15))
        spread = {"inner": config.beats_per_result, "middle": self.hidden // config.beats_per_result, "interval": rate}
        hidden = {"x": gate, "y": up, "y_step": 1, "by_vector": 1, "dst": gate, "shift": self.shifts["gated"],
                  "reduce": Reduce.ABSMAX, "into": ABSMAX}
        timeline.best([self._pass("silu(gate) * up", self.hidden, **hidden),
                       self._pass("silu(gate) * up", self.hidden, **hidden | spread)])
        timeline.place(self._op(Op.SFU, "hidden: int8 scale", function=Sfu.QUANTISE, a=ABSMAX, into=self.quantiser))
        self._quantise(timeline, "hidden", gate, self.hidden)

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
            done = max(timeline.beats() + Vxm.reduce_latency(self.config) - Sequencer.HALT_CYCLES, 0)
            return timeline.place(self._op(Op.HALT, if_prompt=1), after=done) + next_issue(self.config, Op.HALT)

        self._norm(timeline, "final_norm", self.shifts["final_norm"], between=stop)
        self._product(timeline, "classifier", "input", self.buffer["logits"], reduce=Reduce.ARGMAX)
        timeline.place(self._pass("logits' scale", 1, x=layout.constants["one"], scalar=self.scalar,
                                  shift=self.shifts["choice"], dst=self.buffer["scale"]))
        chosen = timeline.place(self._op(Op.TOKEN, target=0), after=max(cycle for cycle, _ in timeline.placed) + 1)
        done = timeline.beats() + Vxm.ending_cycles(self.config) - Sequencer.HALT_CYCLES
        timeline.place(self._op(Op.HALT), after=max(chosen + next_issue(self.config, Op.TOKEN), done))
        return timeline


def first_issue(timeline: Timeline) -> int:
    """The cycle of a section's first issue."""
    return min(cycle for cycle, _ in timeline.placed)


def moved(timeline: Timeline, origin: int = 0) -> list[tuple[int, Instruction]]:
    """What a timeline has placed, in order, on the axis of another that has its `origin` there."""
    return sorted(((cycle + origin, instruction) for cycle, instruction in timeline.placed), key=lambda placed: placed[0])
