"""Lowering of a streamed model: the sections of its token, each a run of its own, from START to HALT."""

from ...hdl.sequencer.sequencer import Sequencer
from ...hdl.spec.isa import Address, Op, Reduce, Source, To
from ...hdl.timing import issue_cycles
from ...hdl.vxm.vxm import Vxm
from ..quant.model import QuantisedModel
from .layout import CompileError
from .lowering import Code, Lowering, first_issue, moved
from .passes import log2
from .scheduler import lay_out
from .streaming import StreamedLayout

BUFFER, RESULTS, KEY, VALUE, KEYS, VALUES = range(1, 7)
"""Address registers: the buffer with the segment's weights, where a chunk's results go, where this position's key and value
go, and the layer's keys and values."""


def lower_streamed(layout: StreamedLayout, model: QuantisedModel) -> tuple[Code, dict[tuple[str, ...], int]]:
    """The program of a streamed model's sections, and their entries by their steps. CompileError if it does not fit the
    program memory."""
    lowering = _Sections(layout, model)
    program, entries = [], {}
    for section in (layout.begin, *layout.layer_sections, *layout.end_sections):
        entries[section.steps] = len(program)
        program += lowering.section(section)
    if len(program) > layout.config.program_depth:
        raise CompileError(f"streamed, the program has {len(program)} instructions, and {layout.config.name} has room for "
                           f"{layout.config.program_depth}: choose a larger configuration")
    return Code(program, {entry: ", ".join(steps) for steps, entry in entries.items()}), entries


class _Sections(Lowering):
    def __init__(self, layout, model):
        super().__init__(layout, model)
        config = self.config
        self.registers = {BUFFER: layout.buffer, RESULTS: 0, KEY: 0, VALUE: layout.values * config.beats_per_result,
                          KEYS: 0, VALUES: layout.values}
        self.keys, self.values = Address(0, KEYS), Address(0, VALUES)
        self.steps = {
            "embedding": self._embedding, "attention norm": self._attention_norm, "qk": self._qk, "v": self._v,
            "attention": self._cache_and_scores, "wo": self._wo, "ffn norm": self._ffn_norm, "w1": self._w1, "w3": self._w3,
            "activation": self._activate, "w2": self._w2, "final norm": self._final_norm, "classifier": self._classifier,
            "choice": self._choice}

    def section(self, section):
        """The instructions of a section."""
        self.chunks = section.chunks
        timeline, program = self._timeline(), []
        if section.words:
            self._index(timeline, BUFFER, Source.TOKEN, 0, self.layout.room, self.layout.buffer, bits=1)
        if section.chunks > 1:
            stride = self.layout.matrices[section.steps[0]].results * self.config.beats_per_result
            self._index(timeline, RESULTS, Source.TOKEN, 1, stride, 0)
        for step in section.steps:
            self.steps[step](timeline)
            if step == "attention":
                program, timeline = timeline, self._after_values()
        self._halt(timeline)
        if program:
            program = lay_out(self.config, moved(program)) + self._attention(first_issue(timeline))
        return program + lay_out(self.config, moved(timeline))

    def _halt(self, timeline):
        """HALT, as soon as everything that was begun ends with the run."""
        done = max([Vxm.ending_cycles(self.config)] + [int(use.cycles[-1]) for cycle, instruction in timeline.placed
                                                       for use in timeline.uses(instruction, cycle)])
        timeline.place(self._op(Op.HALT), after=max(done - Sequencer.HALT_CYCLES, timeline.beats("issue") + 1))

    # What a segment has lies elsewhere than a resident model's

    def _constant(self, name):
        return Address(self.layout.segment + self.layout.layer[name])

    def _matrix(self, name):
        matrix, linear = self.layout.matrices[name], self.model.linears[name if name == "classifier" else f"layers.0.{name}"]
        return matrix, linear, Address(matrix.word, BUFFER), self._constant(name)

    def _results(self, name):
        return Address(self.buffer[name], RESULTS if self.chunks > 1 else 0)

    # Steps

    def _embedding(self, timeline):
        timeline.place(self._pass("embedding", self.dim, x=self._constant("row"), by_vector=1, y=self._constant("row_factor"),
                                  dst=self.buffer["x"], shift=self.shifts["embedding"]))
        self._add_angles(timeline, self._constant("low"), self._constant("high"))

    def _attention_norm(self, timeline):
        self._norm(timeline, "attention_norm", self.shifts["attention_norm"])

    def _ffn_norm(self, timeline):
        self._norm(timeline, "ffn_norm", self.shifts["ffn_norm"])

    def _final_norm(self, timeline):
        self._norm(timeline, "final_norm", self.shifts["final_norm"])
        timeline.place(self._pass("logits' scale", 1, x=self.layout.constants["one"], scalar=self.scalar,
                                  shift=self.shifts["choice"], dst=self.buffer["scale"]))

    def _qk(self, timeline):
        self._scaled_product(timeline, "qk", "input", self.scalar, self._results("qk"))

    def _v(self, timeline):
        self._scaled_product(timeline, "v", "input", self.scalar, self._results("v"), narrow=1)

    def _cache_and_scores(self, timeline):
        """This position's keys and values into the cache, and the scores; the rest of attention follows."""
        layout, config = self.layout, self.config
        rows, cols = (log2(size // layout.cell) + 1 for size in (config.rows, config.cols))
        layer = log2(layout.cells) + 1
        key_granules = layout.head // config.rows * config.granules_per_word
        for register, right, times in ((VALUE, rows, config.beats_per_result), (KEY, cols, key_granules),
                                       (KEYS, layer, layout.key_words), (VALUES, layer, layout.value_words)):
            index = self._op(Op.INDEX, register=register, source=Source.TOKEN, right=right, times=times,
                             value=self.registers[register])
            ready = timeline.place(index) + issue_cycles(config, index)
        self._count_blocks(timeline)
        beats = config.beats_per_result
        timeline.best(self._rounds("values to the cache", layout.kv_heads // config.cols, layout.matrices["v"].inner,
                                   x=self.buffer["v"], x_hop=beats, inner=beats, dst=Address(0, VALUE),
                                   dst_hop=self.value_groups, narrow=1, to=To.VALUES), after=ready)
        self._turn(timeline, ready)
        self._scores(timeline)

    def _wo(self, timeline):
        self._product(timeline, "wo", "o", self._results("x"), **self._residual())

    def _w1(self, timeline):
        self._scaled_product(timeline, "w1", "input", self.scalar, self._results("gate"))

    def _w3(self, timeline):
        self._scaled_product(timeline, "w3", "input", self.scalar, self._results("up"))

    def _w2(self, timeline):
        self._scaled_product(timeline, "w2", "input", self.step, self._results("x"), **self._residual())

    def _residual(self):
        return {"plus": 1, "x": self._results("x"), "x_step": 1}

    def _classifier(self, timeline):
        whole = {"reduce": Reduce.ARGMAX} if self.chunks == 1 else {}
        dst = self._results("logits") if self.layout.whole else self.buffer["logits"]
        self._product(timeline, "classifier", "input", dst, **whole)

    def _choice(self, timeline):
        """The first of the largest logits; if they came in chunks, all are gone through once more."""
        if self.layout.classifier_chunks > 1:
            beats = self.config.beats_per_result
            timeline.place(self._pass("choice", beats, x=self.buffer["logits"], to=To.NOWHERE, reduce=Reduce.ARGMAX,
                                      middle=self.layout.padded_results("classifier") // self.config.cols))
        timeline.place(self._op(Op.TOKEN, target=0), after=timeline.beats("issue") + 1)
